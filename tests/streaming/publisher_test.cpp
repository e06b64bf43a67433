#include "streaming/publisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <zmq.hpp>

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

constexpr auto kPatience = 10s;

// A subscription takes a moment to reach the publisher, and what is sent before is not for it. So this sends `probe`
// until it arrives.
void connect(Publisher& publisher, Subscriber& subscriber, const Message& probe) {
    Message message;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    do {
        publisher.send(probe);
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the subscriber never heard anything";
    } while (!subscriber.receive(message, 20ms));
    while (subscriber.receive(message, 50ms)) {
    }
}

TEST(Publisher, TakesAFreePortAndNamesIt) {
    for (const std::string endpoint : {"tcp://127.0.0.1:0", "tcp://127.0.0.1:*"}) {
        const Publisher publisher(endpoint);
        EXPECT_THAT(publisher.endpoint(), StartsWith("tcp://127.0.0.1:"));
        EXPECT_THAT(publisher.endpoint(), testing::Not(testing::EndsWith(":0")));
    }
}

TEST(Publisher, SaysWhichEndpointIsTaken) {
    const Publisher first("tcp://127.0.0.1:0");
    try {
        const Publisher second(first.endpoint());
        FAIL() << "two publishers on one port";
    } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "cannot publish on " + first.endpoint() + ": Address already in use");
    }
}

TEST(Publisher, NamesAnEndpointThatMakesNoSense) {
    for (const std::string endpoint :
         {"", "7740", "tcp://127.0.0.1", "carrier-pigeon://coop", "tcp://127.0.0.1:99999"}) {
        EXPECT_THROW(Publisher{endpoint}, std::runtime_error) << endpoint;
    }
    EXPECT_THROW(Subscriber("nonsense", ""), std::runtime_error);
}

TEST(Publisher, DeliversTopicAndBodyInOrderWhateverBytesTheyHold) {
    Publisher publisher("tcp://127.0.0.1:0");
    Subscriber subscriber(publisher.endpoint(), "event.");
    connect(publisher, subscriber, {"event.probe", ""});

    const std::string odd("\0{\"label\": \"Rã\"}\n", 18);
    for (int i = 0; i < 1'000; ++i) publisher.send({"event." + std::to_string(i), odd});
    for (int i = 0; i < 1'000; ++i) {
        Message message;
        ASSERT_TRUE(subscriber.receive(message, kPatience)) << i;
        ASSERT_EQ(message.topic, "event." + std::to_string(i));
        ASSERT_EQ(message.body, odd);
    }
}

TEST(Publisher, DeliversOnlyTopicsWithTheSubscribersPrefix) {
    Publisher publisher("tcp://127.0.0.1:0");
    Subscriber subscriber(publisher.endpoint(), "event.pond.");
    connect(publisher, subscriber, {"event.pond.probe", ""});

    publisher.send({"status.pond", "no"});
    publisher.send({"event.lake.1", "no"});
    publisher.send({"event.pond.1", "yes"});
    Message message;
    ASSERT_TRUE(subscriber.receive(message, kPatience));
    EXPECT_EQ(message.body, "yes");
}

TEST(Publisher, NeverWaitsForASubscriberThatDoesNotRead) {
    Publisher publisher("tcp://127.0.0.1:0");
    Subscriber sleeper(publisher.endpoint(), "");
    connect(publisher, sleeper, {"probe", ""});

    const std::string body(10'000, 'x');
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 60'000; ++i) publisher.send({"event", body});  // far beyond what the queues hold
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST(Publisher, StopsSoonWithMessagesStillUnsent) {
    auto publisher = std::make_unique<Publisher>("tcp://127.0.0.1:0");
    Subscriber sleeper(publisher->endpoint(), "");
    connect(*publisher, sleeper, {"probe", ""});
    for (int i = 0; i < 20'000; ++i) publisher->send({"event", std::string(10'000, 'x')});

    const auto begin = std::chrono::steady_clock::now();
    publisher.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST(Publisher, DeliversTheLastMessagesSentBeforeItStops) {
    auto publisher = std::make_unique<Publisher>("tcp://127.0.0.1:0");
    Subscriber subscriber(publisher->endpoint(), "");
    connect(*publisher, subscriber, {"probe", ""});
    publisher->send({"event", "last words"});
    publisher.reset();
    Message message;
    ASSERT_TRUE(subscriber.receive(message, kPatience));
    EXPECT_EQ(message.body, "last words");
}

TEST(Subscriber, GivesUpAfterItsTimeout) {
    const Publisher publisher("tcp://127.0.0.1:0");
    Subscriber subscriber(publisher.endpoint(), "");
    Message message;
    EXPECT_FALSE(subscriber.receive(message, 0ms));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(subscriber.receive(message, 50ms));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 49ms);
}

TEST(Subscriber, MayBeThereBeforeItsPublisher) {
    const auto endpoint = Publisher("tcp://127.0.0.1:0").endpoint();
    Subscriber subscriber(endpoint, "");
    Publisher publisher(endpoint);
    connect(publisher, subscriber, {"probe", ""});
}

TEST(Subscriber, SkipsMessagesOfOtherThanTwoFrames) {
    zmq::context_t context;
    zmq::socket_t stranger(context, zmq::socket_type::xpub);
    stranger.set(zmq::sockopt::linger, 0);
    stranger.bind("tcp://127.0.0.1:*");
    Subscriber subscriber(stranger.get(zmq::sockopt::last_endpoint), "");
    stranger.set(zmq::sockopt::rcvtimeo, 10'000);
    zmq::message_t subscription;
    ASSERT_TRUE(stranger.recv(subscription)) << "the subscription never came";

    const auto send = [&](std::vector<std::string> frames) {
        for (std::size_t i = 0; i < frames.size(); ++i) {
            const auto flags = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
            stranger.send(zmq::buffer(frames[i]), flags);
        }
    };
    send({"one"});
    send({"three", "is", "one too many"});
    send({"topic", "body"});
    Message message;
    ASSERT_TRUE(subscriber.receive(message, kPatience));
    EXPECT_EQ(message.topic, "topic");
    EXPECT_EQ(message.body, "body");
    EXPECT_FALSE(subscriber.receive(message, 0ms));
}

}  // namespace
}  // namespace chorus
