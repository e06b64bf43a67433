#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "daemon/config.h"
#include "daemon/event_comparison.h"
#include "daemon/event_maker.h"
#include "daemon/metrics.h"
#include "daemon/model.h"
#include "daemon/sinks.h"
#include "daemon/window.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// Lets a candidate score the windows that the live model has scored, and counts how the two differ; what it finds goes
/// to DetectionSink::on_shadow_event() alone. The same windows and rules for both: those that the candidate had no time
/// for count for neither. It has a thread of the lowest priority, which rests while windows wait for the live model;
/// beyond kRoom windows that wait for it the oldest is skipped.
class Shadow {
  public:
    static constexpr std::size_t kRoom = 64;

    /// live_waits: whether windows wait for the live model; any thread. All outlive it.
    Shadow(std::string station, std::function<bool()> live_waits, DetectionSink& sink, Metrics& metrics);
    ~Shadow();
    Shadow(const Shadow&) = delete;
    Shadow& operator=(const Shadow&) = delete;

    /// Compares these two by these rules from now on; without a candidate none. Both hear alike (Model::hears_as).
    /// Windows of any other live model are passed over. One thread at a time.
    void compare(std::shared_ptr<const Model> live, std::shared_ptr<const Model> candidate, DetectionConfig detection);
    /// The candidate, if there is one. Any thread.
    std::shared_ptr<const Model> candidate() const;

    /// A window, and what the live model scored; or the mark that its stretch has ended. Never waits. The thread that
    /// tells of detections.
    void offer(const std::string& source, Window window, std::span<const float> scores);

    /// Ends for good; what waits is skipped.
    void stop();

  private:
    struct Item {
        std::string source;
        Window window;
        std::vector<float> scores;  // [class], of the live model
    };
    struct Pair {
        std::shared_ptr<const Model> live;
        std::shared_ptr<const Model> candidate;
        DetectionConfig detection;
    };
    class Side;
    struct Comparison;
    void run();
    void adopt_next();
    void take(const Item& item);
    void score(const Item& item);
    void give_up(const std::string& why);

    const std::string station_;
    const std::function<bool()> live_waits_;
    DetectionSink& sink_;
    Metrics& metrics_;

    std::atomic<bool> active_{false};  // there is a candidate
    std::atomic<bool> stopping_{false};
    LaneQueue<Item> inbox_;

    mutable std::mutex mutex_;  // guards next_ and candidate_
    std::optional<Pair> next_;
    std::shared_ptr<const Model> candidate_;

    std::unique_ptr<Comparison> comparison_;  // of the thread alone
    std::jthread thread_;                     // once there has been a candidate
};

}  // namespace chorus
