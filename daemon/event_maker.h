#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "daemon/activity_prior.h"
#include "daemon/config.h"
#include "daemon/event_grouper.h"
#include "daemon/metrics.h"
#include "daemon/model.h"
#include "daemon/sinks.h"
#include "daemon/window.h"
#include "model/detector.h"

namespace chorus {

/// Windows that one model scored -> events: a detector for each channel, and what an event tells beyond its detection.
/// One thread.
class EventMaker {
  public:
    /// metrics: where events are counted; null: nowhere. Sink and metrics outlive it.
    EventMaker(std::string station, DetectionConfig detection, std::shared_ptr<const Model> model, DetectionSink& sink,
               Metrics* metrics);

    const Model* model() const { return model_.get(); }
    /// Events that have been opened.
    std::int64_t opened() const { return opened_; }
    /// No stretch of sound is under way.
    bool idle() const { return channels_.empty(); }

    /// Windows of one channel in order; scores: [class].
    void add(const std::string& source, const Window& window, std::span<const float> scores);

    /// The channel's stretch of sound has ended: closes its open events.
    void end_stretch(std::size_t source, int channel);

    /// Another model goes on with this window of its channel: closes the channel's open events, and those of the
    /// source's older stretches.
    void give_way(const WindowInfo& window);

    /// Closes all open events.
    void finish();

  private:
    using ChannelKey = std::pair<std::size_t, int>;  // source, channel
    struct Channel {
        std::string source;
        Detector detector;
        std::int64_t stretch;
        std::int64_t rejected_counted = 0;
        std::map<std::size_t, std::optional<UtcTime>> starts;  // of open events, by class
        std::map<std::size_t, std::optional<double>> priors;   // of open events, by class
        WindowInfo last;                                       // what an event's times and clock are told by
    };
    void end_older_stretches(const WindowInfo& window);
    void tell(Channel& channel);
    std::span<const float> prior_of(const WindowInfo& window) const;
    DetectorSettings settings_for(int sample_rate_hz) const;

    const std::string station_;
    const DetectionConfig detection_;
    const std::shared_ptr<const Model> model_;
    DetectionSink& sink_;
    Metrics* const metrics_;
    const std::vector<float> thresholds_;
    const std::vector<int> min_windows_;
    std::optional<ActivityPrior> prior_;
    std::optional<EventGrouper> grouper_;
    std::vector<float> shifted_;
    std::map<ChannelKey, Channel> channels_;
    std::vector<Detection> detections_;
    std::int64_t opened_ = 0;
};

/// The bundle's thresholds with the configuration's changes.
std::vector<float> thresholds_for(const Bundle& bundle, const DetectionConfig& detection);
/// [class], each class's own or the common one.
std::vector<int> min_windows_for(const Bundle& bundle, const DetectionConfig& detection);

}  // namespace chorus
