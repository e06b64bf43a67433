#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/activity_prior.h"
#include "daemon/config.h"
#include "daemon/detector.h"
#include "daemon/event_grouper.h"
#include "daemon/metrics.h"
#include "daemon/sinks.h"
#include "daemon/source_runner.h"
#include "model/bundle.h"
#include "model/classifier.h"
#include "model/front_end.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// The whole path from sources to sinks: a thread a source, and one that scores batches over all channels and sources,
/// runs the detectors and tells the sinks. Its parts live as long as it does; sinks and classifier are the caller's.
class Pipeline {
  public:
    Pipeline(const Config& config, const Bundle& bundle, const FrontEnd& front_end, Classifier& classifier,
             DetectionSink& sink, Metrics& metrics, SourceRunner::Opener open);
    /// Stops.
    ~Pipeline();
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    void start();

    /// All sources have ended and everything they gave is analysed, or the analysis failed. Any thread.
    bool finished() const { return finished_; }
    /// Waits for that, at most so long.
    bool wait_finished(std::chrono::milliseconds timeout);
    /// Rethrows what broke the analysis, if anything did.
    void rethrow_failure() const;

    /// Ends sources, analyses what is queued for at most `drain`, closes open events, joins the threads.
    void stop(std::chrono::milliseconds drain);

    std::vector<SourceReport> sources() const;
    /// Why the daemon is not healthy; empty while every part makes progress. Any thread.
    std::string ill_health() const;
    /// Every source has given sound at least once, or has ended.
    bool all_sources_heard() const;

  private:
    using ChannelKey = std::pair<std::size_t, int>;  // source, channel
    struct ChannelDetector {
        Detector detector;
        std::int64_t stretch;
        std::int64_t rejected_counted = 0;
        std::map<std::size_t, std::optional<UtcTime>> starts;  // of open events, by class
        std::map<std::size_t, std::optional<double>> priors;   // of open events, by class
        Window last;  // without features: what an event's times and clock are told by
    };

    void analyse();
    void score(std::vector<Window>& batch);
    void detect(const Window& window, std::span<const float> scores);
    void end_stretch(const ChannelKey& key);
    void tell(const ChannelKey& key, ChannelDetector& channel);
    std::span<const float> prior_of(const Window& window) const;
    DetectorSettings settings_for(int sample_rate_hz) const;

    const Config& config_;
    const Bundle& bundle_;
    Classifier& classifier_;
    DetectionSink& sink_;
    Metrics& metrics_;
    std::vector<float> thresholds_;
    std::vector<int> min_windows_;
    std::optional<ActivityPrior> prior_;

    LaneQueue<Window> queue_;
    std::vector<std::unique_ptr<SourceRunner>> runners_;
    std::atomic<std::size_t> running_sources_;

    // Of the analysis thread alone.
    std::map<ChannelKey, ChannelDetector> detectors_;
    std::optional<EventGrouper> grouper_;
    std::vector<float> shifted_;
    std::vector<Detection> detections_;
    std::vector<std::span<const float>> features_;
    std::vector<float> scores_;

    std::atomic<MonotonicTime> last_progress_;
    std::atomic<MonotonicTime> drain_until_{MonotonicTime::max()};
    std::mutex finished_mutex_;
    std::condition_variable finished_changed_;
    std::atomic<bool> finished_{false};
    std::exception_ptr failure_;  // written before finished_, read after
    std::jthread thread_;
};

/// The bundle's thresholds with the configuration's changes.
std::vector<float> thresholds_for(const Bundle& bundle, const DetectionConfig& detection);
/// [class], each class's own or the common one.
std::vector<int> min_windows_for(const Bundle& bundle, const DetectionConfig& detection);

}  // namespace chorus
