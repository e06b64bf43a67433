#include "daemon/event_maker.h"

#include <algorithm>
#include <cmath>

#include "streaming/sample_clock.h"

namespace chorus {

std::vector<float> thresholds_for(const Bundle& bundle, const DetectionConfig& detection) {
    std::vector<float> thresholds(bundle.labels.size());
    for (std::size_t i = 0; i < thresholds.size(); ++i) {
        const auto own = detection.thresholds.find(bundle.labels[i].code);
        const double scaled = static_cast<double>(bundle.thresholds[i]) * detection.threshold_scale;
        thresholds[i] = static_cast<float>(own != detection.thresholds.end() ? own->second : std::min(scaled, 1.0));
    }
    return thresholds;
}

std::vector<int> min_windows_for(const Bundle& bundle, const DetectionConfig& detection) {
    std::vector<int> min_windows(bundle.labels.size(), detection.min_windows);
    for (std::size_t i = 0; i < min_windows.size(); ++i) {
        const auto own = detection.min_windows_by_class.find(bundle.labels[i].code);
        if (own != detection.min_windows_by_class.end()) min_windows[i] = own->second;
    }
    return min_windows;
}

EventMaker::EventMaker(std::string station, DetectionConfig detection, std::shared_ptr<const Model> model,
                       DetectionSink& sink, Metrics* metrics)
    : station_(std::move(station)),
      detection_(std::move(detection)),
      model_(std::move(model)),
      sink_(sink),
      metrics_(metrics),
      thresholds_(thresholds_for(model_->bundle(), detection_)),
      min_windows_(min_windows_for(model_->bundle(), detection_)) {
    const auto& bundle = model_->bundle();
    if (detection_.activity_prior > 0.0 && bundle.activity)
        prior_.emplace(*bundle.activity, detection_.activity_prior, detection_.longitude_deg);
    if (detection_.group_seconds > 0.0) grouper_.emplace(detection_.group_seconds, detection_.update_seconds);
}

void EventMaker::add(const std::string& source, const Window& window, std::span<const float> scores) {
    const ChannelKey key{window.source, window.channel};
    auto found = channels_.find(key);
    // The mark of a stretch's end may have been dropped under load: the number tells as well, of all channels, also of
    // those that are gone.
    if (found == channels_.end() || found->second.stretch != window.stretch) {
        end_older_stretches(window);
        found = channels_.end();
    }
    if (found == channels_.end()) {
        Channel made{source, Detector(settings_for(window.sample_rate_hz)), window.stretch, 0, {}, {}, {}};
        found = channels_.emplace(key, std::move(made)).first;
    }
    auto& channel = found->second;
    channel.last = window;
    shifted_.assign(scores.begin(), scores.end());
    const auto prior = prior_of(window);
    for (std::size_t label = 0; label < prior.size(); ++label)
        shifted_[label] = shifted_score(shifted_[label], prior[label]);
    channel.detector.add(window.start_sample, window.end_sample, shifted_, detections_);
    tell(channel);
}

// [class], empty where there is none: it is off, or nobody knows when the window was.
std::span<const float> EventMaker::prior_of(const WindowInfo& window) const {
    if (!prior_ || !window.end_time) return {};
    return prior_->at(*window.end_time +
                      SampleClock::offset(window.start_sample - window.end_sample, window.sample_rate_hz));
}

void EventMaker::end_older_stretches(const WindowInfo& window) {
    std::vector<int> ended;
    for (auto each = channels_.lower_bound({window.source, 0});
         each != channels_.end() && each->first.first == window.source; ++each) {
        if (each->second.stretch != window.stretch) ended.push_back(each->first.second);
    }
    for (const int channel : ended) end_stretch(window.source, channel);
}

void EventMaker::end_stretch(std::size_t source, int channel) {
    const auto found = channels_.find({source, channel});
    if (found == channels_.end()) return;
    found->second.detector.finish(detections_);
    tell(found->second);
    channels_.erase(found);
}

void EventMaker::give_way(const WindowInfo& window) {
    end_stretch(window.source, window.channel);
    end_older_stretches(window);
}

void EventMaker::finish() {
    while (!channels_.empty()) end_stretch(channels_.begin()->first.first, channels_.begin()->first.second);
}

// Makes events of the detections that the channel's detector has just found.
void EventMaker::tell(Channel& channel) {
    const WindowInfo& last = channel.last;
    for (const auto& detection : detections_) {
        Event event;
        event.phase = detection.phase;
        if (detection.phase == EventPhase::kOpen) ++opened_;
        event.station = station_;
        event.source = channel.source;
        event.slot = last.source;
        event.channel = last.channel;
        event.opened = last.opened;
        event.code = model_->bundle().labels[detection.label].code;
        event.label = model_->bundle().labels[detection.label].name;
        event.start_sample = detection.start_sample;
        event.end_sample = detection.end_sample;
        event.sample_rate_hz = last.sample_rate_hz;
        event.hop_seconds = last.hop_seconds;
        if (last.end_time) {
            // Said once and kept, so that a clock that is set meanwhile changes neither start nor id, and the end
            // never comes before the start.
            auto& start = channel.starts[detection.label];
            if (detection.phase == EventPhase::kOpen) {
                start =
                    *last.end_time + SampleClock::offset(detection.start_sample - last.end_sample, last.sample_rate_hz);
            }
            event.start = start;
            if (start)
                event.end =
                    *start + SampleClock::offset(detection.end_sample - detection.start_sample, last.sample_rate_hz);
        }
        auto& prior = channel.priors[detection.label];
        if (detection.phase == EventPhase::kOpen) {
            const auto shifts = prior_of(last);
            prior = shifts.empty() ? std::nullopt : std::optional<double>(shifts[detection.label]);
        }
        event.prior = prior;
        event.peak_score = detection.peak_score;
        event.mean_score = detection.mean_score;
        event.windows = detection.windows;
        event.threshold = detection.threshold;
        event.model = model_->id();
        event.clock_synced = last.clock_synced;
        event.clock_drift_ppm = last.clock_drift_ppm;
        event.sound_received = last.received;
        const bool joined = grouper_ && grouper_->assign(event);
        if (metrics_ != nullptr) {
            if (joined) metrics_->events_grouped.Increment();
            metrics_->count_event(event.source, event.channel, event.code, to_string(event.phase));
        }
        sink_.on_event(std::move(event));
    }
    detections_.clear();
    const auto rejected = channel.detector.rejected();
    if (rejected > channel.rejected_counted) {
        if (metrics_ != nullptr)
            metrics_->count_rejected("min_windows", static_cast<double>(rejected - channel.rejected_counted));
        channel.rejected_counted = rejected;
    }
}

DetectorSettings EventMaker::settings_for(int sample_rate_hz) const {
    const auto samples = [&](double seconds) {
        return static_cast<std::int64_t>(std::llround(seconds * sample_rate_hz));
    };
    return {.thresholds = thresholds_,
            .hysteresis = detection_.hysteresis,
            .min_windows = min_windows_,
            .merge_gap_samples = samples(detection_.merge_gap_seconds),
            .update_samples = samples(detection_.update_seconds)};
}

}  // namespace chorus
