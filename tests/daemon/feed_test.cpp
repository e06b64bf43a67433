// The feed over a real socket and a real journal.

#include "daemon/feed.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/daemon/fakes.h"
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
    explicit Running(const std::filesystem::path& journal)
        : feed({.station = "st",
                .endpoint = "tcp://127.0.0.1:*",
                .status_interval = 50ms,
                .journal = {{.path = journal}}},
               bundle, metrics),
          subscriber(feed.endpoint(), "") {}

    void start() {
        feed.start([] { return std::vector<SourceReport>{}; });
        EXPECT_TRUE(subscriber.receive(message, 10s)) << "status messages show that the subscription stands";
    }

    // The next event; status messages before it are passed over.
    nlohmann::json next_event() {
        while (subscriber.receive(message, 10s)) {
            if (message.topic.starts_with("event.")) return nlohmann::json::parse(message.body);
        }
        ADD_FAILURE() << "no event came";
        return {};
    }

    const Bundle bundle = tone_bundle();
    Metrics metrics{"st"};
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

}  // namespace
}  // namespace chorus
