#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "daemon/model.h"
#include "daemon/sinks.h"
#include "daemon/status.h"
#include "streaming/lane_queue.h"
#include "streaming/publisher.h"

namespace chorus {

struct FeedOptions {
    std::string station;
    std::string endpoint;
    bool scores = false;
    std::chrono::milliseconds status_interval{10'000};
    std::optional<JournalOptions> journal = {};  // none: sequence numbers begin at 1 with each start
    std::size_t most_waiting = 65'536;           // events that wait; beyond, the oldest is dropped and counted
};

/// Gives events their sequence numbers, writes them to the journal, publishes them once they are on disk, and sends a
/// status message now and then. Owns the socket, the journal and the thread that uses them, so that no subscriber and
/// no slow disk ever slows the analysis. While the journal can't be written, events wait in memory, unpublished.
/// on_event and on_scores: one thread; on_shadow_event: another.
class Feed : public DetectionSink {
  public:
    /// Opens the journal, which may wait for a disk that is full or read-only, and binds; throws std::runtime_error
    /// naming the file or the endpoint. `messaging` and `metrics` outlive the feed.
    Feed(FeedOptions options, Messaging& messaging, Metrics& metrics);
    /// Publishes what waits, then ends.
    ~Feed() override;
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    void on_event(Event event) override;
    void on_shadow_event(Event event) override;
    void on_scores(const std::string& source, const Window& window, std::span<const float> scores) override;

    /// What status messages tell; set once, before any sound comes in. Called by the feed's thread.
    void start(std::function<std::vector<SourceReport>()> sources, std::function<ModelStatus()> model);
    /// Publishes what waits, then ends the thread. Neither is called after it.
    void stop();
    /// The next status message goes out at once. Any thread.
    void status_soon() override { status_soon_ = true; }

    /// What broke the feed's thread, if anything did. Any thread.
    bool failed() const { return failed_; }
    void rethrow_failure() const;
    /// When its thread last went round its loop, which it does every second at least. Any thread.
    MonotonicTime last_turn() const { return last_turn_; }
    /// Why the journal can't be written; empty while it can. Any thread.
    std::string journal_fault() const;

    const std::string& endpoint() const { return endpoint_; }

  private:
    struct Scores {
        std::string source;
        WindowInfo window;
        std::shared_ptr<const Model> model;
        std::vector<float> scores;
    };
    using Item = std::variant<Event, Scores, Message>;
    void run();
    void take(Item& item);
    void publish_waiting(std::chrono::milliseconds most);
    void publish_some(MonotonicTime now);
    void journal(std::span<const JournalEntry> entries);
    void note_journal_fault(const std::string& fault);
    void begin_journal();
    void count_dropped();
    void keep_house(MonotonicTime now);
    void say_dropped(MonotonicTime now);
    void publish(const Message& message);
    std::string status_json() const;

    const FeedOptions options_;
    Metrics& metrics_;
    std::optional<Journal> journal_;
    Publisher publisher_;
    const std::string endpoint_;
    LaneQueue<Item> inbox_;
    std::function<std::vector<SourceReport>()> sources_;
    std::function<ModelStatus()> model_;

    // Of the thread alone.
    std::deque<Event> waiting_;
    bool journal_begun_ = false;  // it could be opened, and what the last run left open is closed
    std::int64_t last_seq_ = 0;
    std::int64_t dropped_said_ = 0;
    MonotonicTime next_attempt_{};
    MonotonicTime next_complaint_{};
    MonotonicTime next_drop_complaint_{};
    MonotonicTime next_housekeeping_{};

    mutable std::mutex mutex_;  // guards journal_fault_
    std::string journal_fault_;

    std::exception_ptr failure_;  // written before failed_, read after
    std::atomic<bool> failed_{false};
    std::atomic<bool> status_soon_{false};
    std::atomic<std::int64_t> events_dropped_{0};
    std::atomic<MonotonicTime> last_turn_;
    std::jthread thread_;
};

}  // namespace chorus
