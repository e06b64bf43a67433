// The feed and the HTTP server over real sockets.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "daemon/feed.h"
#include "daemon/http_server.h"
#include "streaming/messaging.h"
#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::string request(int port, const std::string& text) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(send(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    std::string reply;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;)
        reply.append(buffer, static_cast<std::size_t>(n));
    close(fd);
    return reply;
}

std::string get(int port, const std::string& path) {
    return request(port, fmt::format("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path));
}

TEST(HttpServer, ServesItsPagesAndNothingElse) {
    HttpServer server("127.0.0.1:0", {{"/a", [] { return HttpResponse{.body = "text of a\n"}; }},
                                      {"/ill", [] { return HttpResponse{.status = 503, .body = "why\n"}; }},
                                      {"/broken", []() -> HttpResponse { throw std::runtime_error("reason"); }}});
    ASSERT_GT(server.port(), 0);
    EXPECT_THAT(get(server.port(), "/a"),
                testing::AllOf(testing::StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\n\r\ntext of a\n")));
    EXPECT_THAT(get(server.port(), "/ill"), testing::StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(get(server.port(), "/broken"), testing::StartsWith("HTTP/1.1 500 "));
    EXPECT_THAT(get(server.port(), "/../etc/passwd"), testing::Not(HasSubstr("root:")));
    EXPECT_THAT(get(server.port(), "/b"), testing::StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(request(server.port(), "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
                testing::StartsWith("HTTP/1.1 405 "));
}

TEST(HttpServer, SaysWhichPortIsTaken) {
    HttpServer first("127.0.0.1:0", {});
    const auto listen = fmt::format("127.0.0.1:{}", first.port());
    try {
        HttpServer second(listen, {});
        FAIL() << "a taken port must be refused";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), testing::AllOf(HasSubstr(listen), HasSubstr("Address already in use")));
    }
}

TEST(Metrics, TellTheBooksOfEverySourceAndChannel) {
    Metrics metrics("st");
    SourceReport report;
    report.name = "mic";
    report.state = SourceState::kUp;
    report.channels.resize(2);
    report.channels[1].samples.in = 48'000;
    report.channels[1].samples.pending = 48'000;
    metrics.watch_sources([&] { return std::vector{report}; });
    metrics.count_event("mic", 1, "TONE", "open");
    const auto text = metrics.text();
    EXPECT_THAT(text, HasSubstr("chorus_samples_in_total{station=\"st\",source=\"mic\",channel=\"1\"} 48000"));
    EXPECT_THAT(text, HasSubstr("chorus_samples_pending{station=\"st\",source=\"mic\",channel=\"1\"} 48000"));
    EXPECT_THAT(text, HasSubstr("chorus_source_up{station=\"st\",source=\"mic\"} 1"));
    EXPECT_THAT(text, HasSubstr("chorus_events_total{"));
}

double value_of(const std::string& metrics_text, const std::string& metric) {
    const auto at = metrics_text.find("\n" + metric + " ");
    if (at == std::string::npos) throw std::runtime_error(metric + " is not there");
    return std::stod(metrics_text.substr(at + metric.size() + 2));
}

TEST(Metrics, TellOfTheProcessUnderTheStandardNames) {
    const Metrics metrics("st");
    const auto before = metrics.text();
    EXPECT_THAT(before, HasSubstr("chorus_build_info{station=\"st\",version=\"" CHORUS_VERSION "\"} 1"));
    EXPECT_GE(value_of(before, "process_threads{station=\"st\"}"), 1);
    EXPECT_GT(value_of(before, "process_resident_memory_bytes{station=\"st\"}"), 1e6);
    EXPECT_GT(value_of(before, "process_virtual_memory_bytes{station=\"st\"}"),
              value_of(before, "process_resident_memory_bytes{station=\"st\"}"));
    EXPECT_GE(value_of(before, "process_max_fds{station=\"st\"}"),
              value_of(before, "process_open_fds{station=\"st\"}"));
    EXPECT_LE(std::abs(value_of(before, "process_start_time_seconds{station=\"st\"}") -
                       static_cast<double>(std::time(nullptr))),
              3600)
        << "this test's process is not older than an hour";

    const int extra = dup(0);
    const auto after = metrics.text();
    close(extra);
    EXPECT_EQ(value_of(after, "process_start_time_seconds{station=\"st\"}"),
              value_of(before, "process_start_time_seconds{station=\"st\"}"))
        << "alerts count its changes";
    EXPECT_EQ(value_of(after, "process_open_fds{station=\"st\"}"),
              value_of(before, "process_open_fds{station=\"st\"}") + 1);
}

TEST(Feed, PublishesEventsInOrderWithSequenceNumbersAndAStatus) {
    Metrics metrics("st");
    Messaging messaging;
    Feed feed({.station = "st", .endpoint = "tcp://127.0.0.1:*", .scores = true, .status_interval = 50ms}, messaging,
              metrics);
    Subscriber subscriber(feed.endpoint(), "");
    feed.start([] { return std::vector<SourceReport>{}; }, [] { return ModelStatus{}; });
    Message message;
    ASSERT_TRUE(subscriber.receive(message, 10s)) << "status messages show that the subscription stands";
    EXPECT_EQ(message.topic, "status.st");
    EXPECT_EQ(nlohmann::json::parse(message.body)["seq"], 0);

    for (int i = 0; i < 100; ++i) {
        Event event;
        event.station = "st";
        event.source = "mic";
        event.code = "TONE";
        event.start_sample = i;
        event.sound_received = std::chrono::steady_clock::now();
        feed.on_event(event);
    }
    Window window;
    window.features = {0.0F};
    ToneClassifier classifier;
    window.model = model_of(tone_bundle(), classifier);
    const float score = 0.25F;
    feed.on_scores("mic", window, {&score, 1});
    std::vector<int> sequence;
    bool scores_came = false;
    while ((!scores_came || sequence.size() < 100) && subscriber.receive(message, 10s)) {
        const auto json = nlohmann::json::parse(message.body);
        if (message.topic == "event.st.mic.0.TONE") {
            sequence.push_back(json["seq"]);
            EXPECT_GE(json["latency_ms"].get<double>(), 0.0);
        }
        if (message.topic == "scores.st.mic.0") {
            scores_came = true;
            EXPECT_EQ(json["scores"]["TONE"], 0.25);
        }
    }
    EXPECT_TRUE(scores_came);
    ASSERT_EQ(sequence.size(), 100U);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(sequence[static_cast<std::size_t>(i)], i + 1);
    EXPECT_THAT(metrics.text(), HasSubstr("chorus_sound_to_publish_seconds_count{station=\"st\"} 100"));
}

TEST(Feed, PublishesAStatusSoonWhenASourceChanges) {
    Metrics metrics("st");
    Messaging messaging;
    Feed feed({.station = "st", .endpoint = "tcp://127.0.0.1:*", .status_interval = 1h}, messaging, metrics);
    Subscriber subscriber(feed.endpoint(), "");
    std::atomic<bool> down{false};
    const auto sources = [&] {
        SourceReport report;
        report.name = "mic";
        report.state = down ? SourceState::kDown : SourceState::kUp;
        return std::vector{report};
    };
    feed.start(sources, [] { return ModelStatus{}; });
    down = true;
    // Until the subscription stands.
    Message message;
    std::string state;
    for (int i = 0; i < 100 && state != "down"; ++i) {
        feed.status_soon();
        if (subscriber.receive(message, 500ms)) state = nlohmann::json::parse(message.body)["sources"][0]["state"];
    }
    EXPECT_EQ(state, "down");
}

TEST(Feed, SaysWhichPortIsTaken) {
    Metrics metrics("st");
    Messaging messaging;
    Feed first({.station = "st", .endpoint = "tcp://127.0.0.1:*"}, messaging, metrics);
    try {
        Feed second({.station = "st", .endpoint = first.endpoint()}, messaging, metrics);
        FAIL() << "a taken port must be refused";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr(first.endpoint()));
        EXPECT_THAT(error.what(), HasSubstr("Address already in use"));
    }
}

}  // namespace
}  // namespace chorus
