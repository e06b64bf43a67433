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
#include "daemon/sinks.h"
#include "daemon/source_runner.h"
#include "model/bundle.h"
#include "model/classifier.h"
#include "streaming/in_order.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// Scores the windows of a queue, a thread for each of the classifiers, and tells the sink of events. What comes of the
/// windows is told in the order in which they were taken from the queue, whichever thread scored them: the events are
/// the same for any number of threads. Ends when the queue is closed and drained, or when scoring fails; then the queue
/// is closed and what is in it is booked as dropped.
class Analysis {
  public:
    /// What it works with; all outlive it.
    struct Wiring {
        const Bundle& bundle;
        Classifier& classifier;
        LaneQueue<Window>& queue;
        DetectionSink& sink;
        Metrics& metrics;
        std::function<std::shared_ptr<SourceRunner>(std::size_t)> source;  // by Window::source; any thread
    };

    /// With config.threads of 0 as many threads as processors, at most 16; one where the classifier can't be shared.
    Analysis(const Config& config, Wiring wiring);
    /// The queue is closed by then.
    ~Analysis() { join(); }

    void start();
    /// Waits for the end, which comes only once the queue is closed.
    void join();

    /// New detection rules; they close open events. Any thread.
    void adopt(DetectionConfig detection);
    /// What is still queued then is dropped as at a shutdown. Any thread.
    void drain_until(MonotonicTime time) { drain_until_ = time; }

    /// Counts takings from the queue, one that is just under way not among them, and those of them that all has been
    /// told of. Any thread.
    std::uint64_t taken() const { return next_number_; }
    std::uint64_t told() const { return told_; }

    std::size_t threads() const { return classifiers_.size(); }
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
        std::vector<float> scores;          // [window, class]
        std::optional<DropReason> dropped;  // they were not scored
        std::exception_ptr failure;         // as scoring failed
    };
    void run(Classifier& classifier);
    std::optional<std::pair<std::uint64_t, Work>> take();
    void score(Classifier& classifier, Work& work);
    void tell(Work work);
    void tell_of_windows(Work& work);
    void adopt_next();
    void drop(const Work& work, DropReason reason);
    void fail(std::exception_ptr failure);

    const std::string station_;
    const Wiring wiring_;
    const std::size_t max_batch_;
    const std::chrono::milliseconds max_batch_delay_;
    std::vector<std::unique_ptr<Classifier>> more_classifiers_;
    std::vector<Classifier*> classifiers_;  // one a thread

    std::mutex take_mutex_;                      // so that numbers follow the order of the queue
    std::atomic<std::uint64_t> next_number_{0};  // changes under it
    InOrder<Work> results_;

    // Of tell(), which runs once at a time.
    std::unique_ptr<EventMaker> events_;
    std::exception_ptr failure_;  // read by others after finished_

    std::atomic<bool> failing_{false};  // no more scoring

    std::mutex detection_mutex_;  // guards next_detection_
    std::optional<DetectionConfig> next_detection_;

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
