#include "daemon/replay.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <zmq.hpp>

#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "daemon/time_format.h"
#include "streaming/messaging.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::SizeIs;

TEST(ReplayRequest, IsReadOrRefusedWithAReason) {
    EXPECT_EQ(parse_replay_request(R"({"after": 7, "limit": 3})"), (ReplayRequest{7, 3}));
    EXPECT_EQ(parse_replay_request(R"({"after": 0})"), (ReplayRequest{0, 100}));
    EXPECT_EQ(parse_replay_request(R"({"after": 18446744073709551615})").after, INT64_MAX);
    for (const auto* bad :
         {"", "7", "[7]", "{}", "{\"after\": -1}", "{\"after\": 1.5}", "{\"after\": \"1\"}",
          "{\"after\": 1, \"limit\": 0}", "{\"after\": 1, \"limit\": 1001}", "{\"after\": 1, \"more\": 1}",
          "{\"after\": {\"a\": [[[1]]]}}", "{\"after\": 1", "\xff\xfe"}) {
        EXPECT_THROW(parse_replay_request(bad), std::invalid_argument) << bad;
    }
}

class Replay : public testing::Test {
  protected:
    void append(int count) {
        for (int i = 0; i < count; ++i) {
            const auto seq = journal_.last_seq() + 1;
            const JournalEntry entry{seq, fmt::format("event.{}", seq), fmt::format("body {}", seq)};
            journal_.append({&entry, 1}, utc_now(), true);
        }
    }

    TemporaryFolder folder_;
    Journal journal_{{.path = folder_ / "j.db"}};
    Metrics metrics_{"st"};
    Messaging messaging_;
    ReplayServer server_{messaging_, "tcp://127.0.0.1:*", folder_ / "j.db", metrics_};
};

TEST_F(Replay, AnswersWithWhatWasMissedInOrder) {
    append(2500);
    ReplayClient client(server_.endpoint());
    std::int64_t after = 10;
    while (after < 2500) {
        const auto reply = client.fetch({.after = after, .limit = 1000}, 10s);
        EXPECT_EQ(reply.first, 1);
        EXPECT_EQ(reply.last, 2500);
        ASSERT_FALSE(reply.messages.empty());
        for (const auto& message : reply.messages) {
            ++after;
            ASSERT_EQ(message.topic, fmt::format("event.{}", after));
            ASSERT_EQ(message.body, fmt::format("body {}", after));
        }
    }
    EXPECT_THAT(client.fetch({.after = 2500, .limit = 10}, 10s).messages, SizeIs(0));
    append(1);
    EXPECT_THAT(client.fetch({.after = 2500, .limit = 10}, 10s).messages, SizeIs(1)) << "also while it is written";
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_replay_requests_total{station=\"st\",result=\"ok\"} 5"));
}

TEST_F(Replay, ServesADealerAndSurvivesNonsense) {
    append(3);
    zmq::context_t context{1};
    zmq::socket_t dealer(context, zmq::socket_type::dealer);
    dealer.set(zmq::sockopt::linger, 0);
    dealer.set(zmq::sockopt::rcvtimeo, 10'000);
    dealer.connect(server_.endpoint());
    const auto ask = [&](const std::string& request) {
        dealer.send(zmq::buffer(request), zmq::send_flags::none);
        std::vector<std::string> frames;
        for (bool more = true; more;) {
            zmq::message_t frame;
            if (!dealer.recv(frame)) break;
            more = frame.more();
            frames.push_back(frame.to_string());
        }
        return frames;
    };
    for (const auto* nonsense : {"", "{", "{\"after\": \"x\"}", "\x01\x02\x03"}) {
        const auto reply = ask(nonsense);
        ASSERT_THAT(reply, SizeIs(1)) << nonsense;
        const auto json = nlohmann::json::parse(reply[0]);
        EXPECT_EQ(json["schema"], "chorus.replay/1");
        EXPECT_FALSE(json["error"].get<std::string>().empty());
    }
    const auto reply = ask(R"({"after": 1})");
    ASSERT_THAT(reply, SizeIs(5));
    EXPECT_EQ(nlohmann::json::parse(reply[0])["count"], 2);
    EXPECT_EQ(reply[4], "body 3");
}

// It shakes hands (ZMTP 3.1, RFC 37) and then answers nothing more, as one whose power or address is gone.
TEST_F(Replay, LetsGoOfAClientThatVanished) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto endpoint = server_.endpoint();
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    std::string hello = "\xff" + std::string(8, '\0') + "\x7f\x03\x01NULL";
    hello.resize(64);
    hello += std::string(
        "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER",
        30);
    ASSERT_EQ(send(fd, hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
    std::size_t came = 0;
    ssize_t count = 0;
    for (char bytes[256]; (count = recv(fd, bytes, sizeof bytes, 0)) > 0;) came += static_cast<std::size_t>(count);
    EXPECT_EQ(count, 0) << "closed by the server within a minute";
    EXPECT_GT(came, 64U + 30U) << "it was taken for a client, and asked whether it lives";
    close(fd);
}

TEST_F(Replay, AnswersOverIpv6) {
    append(2);
    std::optional<ReplayServer> server;
    try {
        server.emplace(messaging_, "tcp://[::1]:*", folder_ / "j.db", metrics_);
    } catch (const std::runtime_error& error) {
        GTEST_SKIP() << "no IPv6 here: " << error.what();
    }
    ReplayClient client(server->endpoint());
    EXPECT_THAT(client.fetch({.after = 0, .limit = 10}, 10s).messages, SizeIs(2));
}

TEST_F(Replay, SaysWhenNobodyAnswers) {
    ReplayClient client("tcp://127.0.0.1:1");
    EXPECT_THROW(client.fetch({}, 50ms), std::runtime_error);
}

TEST_F(Replay, SaysWhichPortIsTaken) {
    try {
        ReplayServer second(messaging_, server_.endpoint(), folder_ / "j.db", metrics_);
        FAIL() << "a taken port must be refused";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr(server_.endpoint()));
    }
}

TEST_F(Replay, TellsWhatBrokeItsThread) {
    EXPECT_FALSE(server_.failed());
    messaging_.context().shutdown();
    while (!server_.failed()) std::this_thread::yield();
    try {
        server_.rethrow_failure();
        FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("replay"));
    }
}

class HostileServer : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(HostileServer, IsRefusedInOneLine) {
    zmq::context_t context{1};
    zmq::socket_t server(context, zmq::socket_type::rep);
    server.set(zmq::sockopt::linger, 0);
    server.bind("tcp://127.0.0.1:*");
    const auto endpoint = server.get(zmq::sockopt::last_endpoint);
    std::jthread thread([&] {
        zmq::message_t request;
        (void)server.recv(request);
        for (std::size_t i = 0; i < GetParam().size(); ++i)
            server.send(zmq::buffer(GetParam()[i]),
                        i + 1 < GetParam().size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    });
    ReplayClient client(endpoint);
    try {
        client.fetch({.after = 5, .limit = 2}, 10s);
        FAIL() << "taken for an answer";
    } catch (const std::runtime_error& error) {
        const std::string text = error.what();
        EXPECT_THAT(text, HasSubstr(endpoint));
        EXPECT_THAT(text, testing::Not(HasSubstr("json.exception")));
        EXPECT_LT(text.size(), 400U);
        EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 127; }))
            << text;
    }
}

std::string header(const std::string& first, const std::string& last) {
    return fmt::format(R"({{"schema": "chorus.replay/1", "after": 5, "count": 1, "first": {}, "last": {}}})", first,
                       last);
}

INSTANTIATE_TEST_SUITE_P(
    Replies, HostileServer,
    testing::Values(std::vector<std::string>{""}, std::vector<std::string>{"\xff\xfe"}, std::vector<std::string>{"[]"},
                    std::vector<std::string>{R"({"schema": 7})"}, std::vector<std::string>{std::string(100'000, '[')},
                    std::vector<std::string>{R"({"schema": "chorus.replay/1"})"},
                    std::vector<std::string>{R"({"schema": "chorus.replay/1", "error": 7})"},
                    std::vector<std::string>{R"({"schema": "chorus.replay/1", "error": "two\nlines\u001b[2J)" +
                                             std::string(5000, 'x') + "\"}"},
                    std::vector<std::string>{header("\"1\"", "9"), "topic", "body"},
                    std::vector<std::string>{header("-9223372036854775808", "9"), "topic", "body"},
                    std::vector<std::string>{header("1", "9223372036854775807"), "topic", "body"},
                    std::vector<std::string>{header("1", "1e300"), "topic", "body"},
                    std::vector<std::string>{header("1", "5"), "topic", "body"},
                    std::vector<std::string>{header("1", "9"), "topic"},
                    std::vector<std::string>{header("1", "9"), "t", "b", "t", "b", "t", "b"}));

}  // namespace
}  // namespace chorus
