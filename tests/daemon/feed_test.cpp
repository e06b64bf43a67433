// The feed over a real socket and a real journal.

#include "daemon/feed.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "streaming/messaging.h"
#include "tests/daemon/fakes.h"
#include "tests/end_to_end/small_disk.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::SizeIs;

Event event_at(int start, EventPhase phase = EventPhase::kOpen) {
    Event event;
    event.phase = phase;
    event.station = "st";
    event.source = "mic";
    event.code = "TONE";
    event.start_sample = start;
    event.sound_received = std::chrono::steady_clock::now();
    return event;
}

/// A feed with a journal, and a subscriber whose subscription stands.
struct Running {
    explicit Running(const std::filesystem::path& journal, std::size_t most_waiting = 1000)
        : feed({.station = "st",
                .endpoint = "tcp://127.0.0.1:*",
                .status_interval = 50ms,
                .journal = {{.path = journal}},
                .most_waiting = most_waiting},
               messaging, metrics),
          subscriber(feed.endpoint(), "") {}

    void start() {
        feed.start([] { return std::vector<SourceReport>{}; }, [] { return ModelStatus{}; });
        next_status();
    }

    // Status messages show that the subscription stands.
    nlohmann::json next_status() {
        while (subscriber.receive(message, 10s)) {
            if (message.topic.starts_with("status.")) return nlohmann::json::parse(message.body);
        }
        ADD_FAILURE() << "no status came";
        return {};
    }

    // The next event; status messages before it are passed over.
    nlohmann::json next_event() {
        while (subscriber.receive(message, 10s)) {
            if (message.topic.starts_with("event.")) return nlohmann::json::parse(message.body);
        }
        ADD_FAILURE() << "no event came";
        return {};
    }

    Metrics metrics{"st"};
    Messaging messaging;
    Feed feed;
    Subscriber subscriber;
    Message message;
};

TEST(Feed, PublishesWhatTheJournalHoldsAndGoesOnCounting) {
    const TemporaryFolder folder;
    std::vector<std::string> seen;
    for (int run = 0; run < 2; ++run) {
        Running running(folder / "j.db");
        running.start();
        for (int i = 0; i < 50; ++i) running.feed.on_event(event_at(i, EventPhase::kClose));
        for (int i = 0; i < 50; ++i) {
            EXPECT_EQ(running.next_event()["seq"], 50 * run + i + 1);
            seen.push_back(running.message.body);
        }
    }
    const auto kept = read_journal(folder / "j.db", 0, 1000, SIZE_MAX).entries;
    ASSERT_THAT(kept, SizeIs(100));
    for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(kept[i].body, seen[i]);
}

TEST(Feed, ClosesWhatTheLastRunLeftOpen) {
    const TemporaryFolder folder;
    {
        Running running(folder / "j.db");
        running.start();
        running.feed.on_event(event_at(7));
        running.next_event();
    }
    Running running(folder / "j.db");
    running.start();
    running.feed.stop();
    const auto kept = read_journal(folder / "j.db", 0, 1000, SIZE_MAX).entries;
    ASSERT_THAT(kept, SizeIs(2));
    const auto open = nlohmann::json::parse(kept[0].body);
    const auto close = nlohmann::json::parse(kept[1].body);
    EXPECT_EQ(close["phase"], "close");
    EXPECT_EQ(close["seq"], 2);
    EXPECT_EQ(close["id"], open["id"]);
    EXPECT_EQ(kept[1].topic, kept[0].topic);
}

TEST(Feed, HoldsEventsBackWhileTheJournalRefusesAndLosesNone) {
    const TemporaryFolder folder;
    Running running(folder / "j.db");
    running.start();
    {
        // Another writer holds the database: as good a refusal as a full disk.
        SqliteDatabase other(folder / "j.db", SQLITE_OPEN_READWRITE);
        other.execute("BEGIN IMMEDIATE");
        for (int i = 0; i < 10; ++i) running.feed.on_event(event_at(i, EventPhase::kClose));
        while (running.feed.journal_fault().empty()) {
            ASSERT_TRUE(running.subscriber.receive(running.message, 10s)) << "status messages go on";
            EXPECT_THAT(running.message.topic, testing::StartsWith("status."));
        }
        for (int i = 10; i < 20; ++i) running.feed.on_event(event_at(i, EventPhase::kClose));
        while (running.subscriber.receive(running.message, 10s)) {
            const auto status = nlohmann::json::parse(running.message.body);
            if (status["journal"]["error"].is_string() && status["journal"]["waiting"] == 20) break;
        }
        other.execute("ROLLBACK");
    }
    for (int i = 0; i < 20; ++i) EXPECT_EQ(running.next_event()["seq"], i + 1);
    running.feed.stop();
    EXPECT_EQ(running.feed.journal_fault(), "");
    EXPECT_THAT(read_journal(folder / "j.db", 0, 1000, SIZE_MAX).entries, SizeIs(20));
    EXPECT_THAT(running.metrics.text(), HasSubstr("chorus_events_dropped_total{station=\"st\"} 0"));
}

TEST(Feed, StartsOnAReadOnlyDiskAndPublishesOnceItCanBeWritten) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "no small file system can be mounted here";
    const auto journal = folder / "disk/j.db";
    {
        Running running(journal);
        running.start();
        running.feed.on_event(event_at(7));  // left open
        running.next_event();
    }
    disk->set_read_only(true);
    Running running(journal);
    running.start();
    EXPECT_NE(running.feed.journal_fault(), "");
    for (int i = 0; i < 10; ++i) running.feed.on_event(event_at(i, EventPhase::kClose));
    for (nlohmann::json status; status.empty() || status["journal"]["waiting"] != 10;) {
        ASSERT_TRUE(running.subscriber.receive(running.message, 10s)) << "status messages go on";
        ASSERT_THAT(running.message.topic, testing::StartsWith("status."));
        status = nlohmann::json::parse(running.message.body);
        EXPECT_TRUE(status["journal"]["error"].is_string());
    }
    disk->set_read_only(false);
    for (int seq = 2; seq <= 12; ++seq) EXPECT_EQ(running.next_event()["seq"], seq);
    running.feed.stop();
    EXPECT_EQ(running.feed.journal_fault(), "");
    const auto kept = read_journal(journal, 0, 1000, SIZE_MAX).entries;
    ASSERT_THAT(kept, SizeIs(12));
    EXPECT_EQ(nlohmann::json::parse(kept[1].body)["phase"], "close") << "the last run's first";
    EXPECT_EQ(nlohmann::json::parse(kept[1].body)["start_sample"], 7);
}

/// What is logged while it lives.
class LogCapture {
  public:
    LogCapture() : before_(spdlog::default_logger()) {
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
    }
    ~LogCapture() { spdlog::set_default_logger(before_); }
    LogCapture(const LogCapture&) = delete;
    LogCapture& operator=(const LogCapture&) = delete;
    /// Once nobody logs any more.
    std::string text() const { return text_.str(); }

  private:
    std::ostringstream text_;
    std::shared_ptr<spdlog::logger> before_;
};

TEST(Feed, TellsHowManyEventsItHadToDrop) {
    const TemporaryFolder folder;
    const LogCapture log;
    Running running(folder / "j.db", 100);
    for (int i = 0; i < 110; ++i) running.feed.on_event(event_at(1, EventPhase::kClose));
    running.start();
    auto status = nlohmann::json::parse(running.message.body);
    while (!testing::Test::HasFailure() && status["journal"]["waiting"] != 0) status = running.next_status();
    EXPECT_EQ(status["journal"]["dropped"], 10);
    EXPECT_EQ(status["journal"]["waiting"], 0);
    running.feed.stop();
    EXPECT_THAT(log.text(), HasSubstr("10 events are lost"));
    EXPECT_THAT(running.metrics.text(), HasSubstr("chorus_events_dropped_total{station=\"st\"} 10"));
}

}  // namespace
}  // namespace chorus
