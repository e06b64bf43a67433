#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/metrics.h"
#include "daemon/sinks.h"
#include "streaming/lane_queue.h"
#include "streaming/publisher.h"

namespace chorus {

struct Bundle;

struct FeedOptions {
    std::string station;
    std::string endpoint;
    bool scores = false;
    std::chrono::milliseconds status_interval{10'000};
};

/// Gives events their sequence numbers and publishes them, with a status message now and then. Owns the socket and the
/// thread that uses it, so that no subscriber ever slows the analysis. on_event and on_scores: one thread.
class Feed : public DetectionSink {
  public:
    /// Binds; throws std::runtime_error naming the endpoint. `bundle` outlives the feed.
    Feed(FeedOptions options, const Bundle& bundle, Metrics& metrics);
    /// Publishes what waits, then ends.
    ~Feed() override;
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    void on_event(Event event) override;
    void on_scores(const Window& window, std::span<const float> scores) override;

    /// What status messages tell; set once, before any sound comes in. Called by the feed's thread.
    void start(std::function<std::vector<SourceReport>()> sources, std::vector<std::string> source_names);
    /// Publishes what waits, then ends the thread. `sources` is not called after it.
    void stop();

    /// What broke the feed's thread, if anything did. Any thread.
    bool failed() const { return failed_; }
    void rethrow_failure() const;

    const std::string& endpoint() const { return endpoint_; }

  private:
    struct Item {
        Event event;  // published unless `message` is given
        Message message;
    };
    void run();
    void put(Item item);
    void publish_event(Event& event);
    void publish_status();
    std::string status_json() const;

    const FeedOptions options_;
    const Bundle& bundle_;
    Metrics& metrics_;
    Publisher publisher_;
    const std::string endpoint_;
    LaneQueue<Item> inbox_;
    std::function<std::vector<SourceReport>()> sources_;
    std::vector<std::string> source_names_;
    std::int64_t last_seq_ = 0;   // of the thread alone
    std::exception_ptr failure_;  // written before failed_, read after
    std::atomic<bool> failed_{false};
    std::jthread thread_;
};

}  // namespace chorus
