#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/config.h"
#include "daemon/event_maker.h"
#include "daemon/metrics.h"
#include "daemon/model.h"
#include "daemon/shadow.h"
#include "daemon/sinks.h"
#include "daemon/source_runner.h"
#include "streaming/in_order.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// So many threads score: as many as the configuration says; for 0 as many as processors, at most 16.
std::size_t scoring_threads(const Config& config);

/// What a model on trial has done since it was put there.
struct ModelTrial {
    std::string failure;      // the last; empty: none
    std::int64_t events = 0;  // opened
    double hours = 0;         // of sound, over all channels
};

/// Scores the windows of a queue, each by its own model, and tells the sink of events. What comes of the windows is
/// told in the order in which they were taken from the queue, whichever thread scored them: the events are the same for
/// any number of threads. Where a channel's windows change from one model to another, open events are closed under the
/// old one first. Ends when the queue is closed and drained, or when scoring fails; then the queue is closed and what
/// is in it is booked as dropped.
class Analysis {
  public:
    /// What it works with; all outlive it.
    struct Wiring {
        LaneQueue<Window>& queue;
        DetectionSink& sink;
        Metrics& metrics;
        Shadow& shadow;                                                    // given what has been told of
        std::function<std::shared_ptr<SourceRunner>(std::size_t)> source;  // by Window::source; any thread
    };

    /// model: of the first windows; as many threads as are wanted and it has classifiers for.
    Analysis(const Config& config, std::shared_ptr<const Model> model, Wiring wiring);
    /// The queue is closed by then.
    ~Analysis() { join(); }

    void start();
    /// Waits for the end, which comes only once the queue is closed.
    void join();

    /// New detection rules; they close open events. Any thread.
    void adopt(DetectionConfig detection);
    /// Windows are for this model from now on, or soon will be. Any thread.
    void adopt(std::shared_ptr<const Model> model);
    /// A failure of this model, as long as it is the last that was put on trial, ends nothing: the windows are dropped.
    /// Any thread.
    void put_on_trial(const std::shared_ptr<const Model>& model);
    /// Any thread.
    ModelTrial trial() const;
    /// What is still queued then is dropped as at a shutdown. Any thread.
    void drain_until(MonotonicTime time) { drain_until_ = time; }

    /// Counts takings from the queue, one that is just under way not among them, and those of them that all has been
    /// told of. Any thread.
    std::uint64_t taken() const { return next_number_; }
    std::uint64_t told() const { return told_; }

    std::size_t threads() const { return thread_count_; }
    /// When windows were last told of or dropped, or none were there for half a second. Any thread.
    MonotonicTime last_progress() const { return last_progress_; }
    bool finished() const { return finished_; }
    bool failed() const { return finished_ && failure_; }
    /// At most so long.
    bool wait_finished(std::chrono::milliseconds timeout);
    void rethrow_failure() const;

  private:
    /// Windows taken from the queue together, and what came of them.
    struct Work {
        std::vector<Window> batch;
        std::vector<float> scores;          // [window, class of its model], end marks left out
        std::optional<DropReason> dropped;  // they were not scored
        std::exception_ptr failure;         // as scoring failed
    };
    void run();
    std::optional<std::pair<std::uint64_t, Work>> take();
    void score(Work& work);
    void tell(Work work);
    void tell_of_windows(Work& work);
    EventMaker& events_of(const Window& window);
    bool forgive(const Work& work, const std::exception_ptr& failure);
    void note_on_trial(const Window& window, std::int64_t events);
    void adopt_next();
    void drop(const Work& work, DropReason reason);
    void fail(std::exception_ptr failure);

    const std::string station_;
    const Wiring wiring_;
    const std::size_t max_batch_;
    const std::chrono::milliseconds max_batch_delay_;
    const std::size_t thread_count_;

    std::mutex take_mutex_;                      // so that numbers follow the order of the queue
    std::atomic<std::uint64_t> next_number_{0};  // changes under it
    InOrder<Work> results_;

    // Of tell(), which runs once at a time.
    DetectionConfig detection_;
    std::shared_ptr<const Model> model_;               // that is being served
    std::vector<std::unique_ptr<EventMaker>> events_;  // of each model that has work under way
    std::exception_ptr failure_;                       // read by others after finished_

    std::atomic<bool> failing_{false};  // no more scoring

    std::mutex next_mutex_;  // guards what tell() takes over next
    std::optional<DetectionConfig> next_detection_;
    std::shared_ptr<const Model> next_model_;

    mutable std::mutex trial_mutex_;  // guards what follows
    std::weak_ptr<const Model> on_trial_;
    ModelTrial trial_;

    std::atomic<MonotonicTime> last_progress_;
    std::atomic<std::uint64_t> told_{0};
    std::atomic<MonotonicTime> drain_until_{MonotonicTime::max()};
    std::atomic<std::size_t> running_{0};
    std::mutex finished_mutex_;
    std::condition_variable finished_changed_;
    std::atomic<bool> finished_{false};
    std::vector<std::jthread> threads_;
};

}  // namespace chorus
