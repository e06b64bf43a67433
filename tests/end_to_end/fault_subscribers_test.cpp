// Subscribers that don't read, and subscribers that are gone without a word.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <future>
#include <list>
#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "tests/end_to_end/station.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

// Connected and subscribed, with as little room for unread messages as there can be.
class SlowSubscriber {
  public:
    explicit SlowSubscriber(const std::string& endpoint) {
        socket_.set(zmq::sockopt::rcvhwm, 1);
        socket_.set(zmq::sockopt::rcvbuf, 4096);
        socket_.set(zmq::sockopt::linger, 0);
        socket_.set(zmq::sockopt::subscribe, "event.");
        socket_.connect(endpoint);
    }

    // Reads until it has read past a hole in seq; false if there is none to be found in time.
    bool reads_past_a_hole() {
        socket_.set(zmq::sockopt::rcvtimeo, 2000);
        std::int64_t last = 0;
        for (zmq::message_t topic, body; socket_.recv(topic) && socket_.recv(body);) {
            const auto seq = nlohmann::json::parse(body.to_string_view())["seq"].get<std::int64_t>();
            if (last > 0 && seq != last + 1) return true;
            last = seq;
        }
        return false;
    }

  private:
    zmq::context_t context_{1};
    zmq::socket_t socket_{context_, zmq::socket_type::sub};
};

TEST(FaultOfSubscribers, FourSlowAndFourDeadOnesHoldUpNobody) {
    // Every class at each window of 32 channels: more than a thousand messages a second.
    std::string all_classes;
    for (const char* code :
         {"BLACKBIRD", "CROW", "CUCKOO", "DUCK", "FROG", "GRASSHOPPER", "LARK", "ROOSTER", "SEAGULL"}) {
        all_classes += fmt::format("{} = 0.0\n", code);
    }
    Station station(std::string(kSteady) +
                        "[[source]]\nname = 'flood'\nlaunch = 'audiotestsrc is-live=true wave=pink-noise ! "
                        "audio/x-raw,rate=16000,channels=32'\n",
                    all_classes);
    station.start();
    std::list<SlowSubscriber> slow;
    for (int i = 0; i < 4; ++i) slow.emplace_back(station.endpoint());
    std::list<Process> dead;
    for (int i = 0; i < 4; ++i)
        dead.emplace_back(std::vector<std::string>{CHORUSD, "listen", station.endpoint()}, station.folder());
    for (auto& listener : dead) {
        ASSERT_TRUE(station.until("it hears something", [&](const Scrape&) { return !listener.out().empty(); }));
    }
    int number = 0;
    for (auto& listener : dead) listener.signal(number++ < 2 ? SIGSTOP : SIGKILL);

    // Beyond what ZeroMQ and the kernel keep for a peer, messages for the slow are dropped.
    ASSERT_TRUE(station.until_events("flood", 25'000, 120s));
    EXPECT_TRUE(station.until_events("steady", 4));
    EXPECT_EQ(station.last_scrape().sum("chorus_messages_dropped_total"), 0) << "none is dropped before ZeroMQ";
    // Meanwhile the station's own subscriber reads on, or it would be a slow one, too.
    std::list<std::future<bool>> holes;
    for (auto& subscriber : slow)
        holes.push_back(std::async(std::launch::async, [&] { return subscriber.reads_past_a_hole(); }));
    ASSERT_TRUE(station.until("the slow have read", [&](const Scrape&) {
        return std::all_of(holes.begin(), holes.end(),
                           [](auto& hole) { return hole.wait_for(0s) == std::future_status::ready; });
    }));
    for (auto& hole : holes) EXPECT_TRUE(hole.get());
    station.stop();
    expect_whole_journal(station);
}

}  // namespace
}  // namespace chorus
