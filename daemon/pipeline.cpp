#include "daemon/pipeline.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "config/program.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kStuckAfter = 30s;  // windows wait and none was scored for so long: the analysis is stuck

double seconds_since(MonotonicTime then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

}  // namespace

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

Pipeline::Pipeline(const Config& config, const Bundle& bundle, const FrontEnd& front_end, Classifier& classifier,
                   DetectionSink& sink, Metrics& metrics, SourceRunner::Opener open)
    : config_(config),
      bundle_(bundle),
      classifier_(classifier),
      sink_(sink),
      metrics_(metrics),
      thresholds_(thresholds_for(bundle, config.detection)),
      min_windows_(min_windows_for(bundle, config.detection)),
      queue_(config.sources.size(), static_cast<std::size_t>(config.queue_windows)),
      running_sources_(config.sources.size()),
      last_progress_(std::chrono::steady_clock::now()) {
    if (config.detection.activity_prior > 0.0 && bundle.activity) {
        prior_.emplace(*bundle.activity, config.detection.activity_prior,
                       config.position ? std::optional(config.position->longitude_deg) : std::nullopt);
    }
    if (config.detection.group_seconds > 0.0)
        grouper_.emplace(config.detection.group_seconds, config.detection.update_seconds);
    for (std::size_t i = 0; i < config.sources.size(); ++i) {
        // The last source to end closes the queue: after it, what is queued is all there is.
        runners_.push_back(std::make_unique<SourceRunner>(i, config.sources[i], open, front_end, config.hop_seconds,
                                                          config.silence_timeout, queue_, [this] {
                                                              if (--running_sources_ == 0) queue_.close();
                                                          }));
    }
    metrics_.watch_sources([this] { return sources(); });
}

Pipeline::~Pipeline() {
    metrics_.watch_sources({});
    stop(0ms);
}

void Pipeline::start() {
    thread_ = std::jthread([this] {
        name_this_thread("analysis");
        try {
            analyse();
        } catch (...) {
            failure_ = std::current_exception();
            metrics_.inference_errors.Increment();
            queue_.close();
        }
        {
            const std::lock_guard lock(finished_mutex_);
            finished_ = true;
        }
        finished_changed_.notify_all();
    });
    for (auto& runner : runners_) runner->start();
}

bool Pipeline::wait_finished(std::chrono::milliseconds timeout) {
    std::unique_lock lock(finished_mutex_);
    return finished_changed_.wait_for(lock, timeout, [this] { return finished_.load(); });
}

void Pipeline::rethrow_failure() const {
    if (finished_ && failure_) std::rethrow_exception(failure_);
}

void Pipeline::stop(std::chrono::milliseconds drain) {
    drain_until_ = std::chrono::steady_clock::now() + drain;
    for (auto& runner : runners_) runner->request_stop();
    queue_.close();
    if (thread_.joinable()) thread_.join();
    for (auto& runner : runners_) runner->join();
}

std::vector<SourceReport> Pipeline::sources() const {
    std::vector<SourceReport> reports;
    for (const auto& runner : runners_) reports.push_back(runner->report());
    return reports;
}

std::string Pipeline::ill_health() const {
    if (finished_ && failure_) return "analysis: failed";
    if (!finished_ && queue_.size() > 0 &&
        seconds_since(last_progress_) > std::chrono::duration<double>(kStuckAfter).count()) {
        return fmt::format("analysis: no window scored for {:.0f} s while {} wait", seconds_since(last_progress_),
                           queue_.size());
    }
    const double silence = std::chrono::duration<double>(config_.silence_timeout).count();
    for (const auto& source : sources()) {
        if (source.state == SourceState::kDown) return fmt::format("source {}: {}", source.name, source.error);
        if (source.state == SourceState::kFailed) return fmt::format("source {}", source.error);
        const bool listening = source.state == SourceState::kUp || source.state == SourceState::kStarting;
        const double quiet =
            seconds_since(std::max(source.last_sample.value_or(source.listening_since), source.listening_since));
        if (source.live && listening && quiet > silence) {
            return fmt::format("source {}: no sound for {:.0f} s", source.name, quiet);
        }
    }
    return "";
}

bool Pipeline::all_sources_heard() const {
    const auto reports = sources();
    return std::all_of(reports.begin(), reports.end(), [](const auto& source) {
        return source.last_sample || source.state == SourceState::kEnded || source.state == SourceState::kFailed;
    });
}

void Pipeline::analyse() {
    while (true) {
        auto batch = queue_.pop_batch(static_cast<std::size_t>(config_.max_batch), config_.max_batch_delay, 500ms);
        if (batch.empty()) {
            if (queue_.drained()) break;
            last_progress_ = std::chrono::steady_clock::now();
            continue;
        }
        if (std::chrono::steady_clock::now() > drain_until_.load()) {
            for (const auto& window : batch) {
                if (!window.ends_stretch())
                    runners_[window.source]->ledger().dropped(window.channel, window.booked_samples,
                                                              DropReason::kShutdown);
            }
            continue;
        }
        score(batch);
        last_progress_ = std::chrono::steady_clock::now();
    }
    for (auto& [key, channel] : detectors_) {
        channel.detector.finish(detections_);
        tell(key, channel);
    }
}

void Pipeline::score(std::vector<Window>& batch) {
    features_.clear();
    const auto begun = std::chrono::steady_clock::now();
    for (const auto& window : batch) {
        if (window.ends_stretch()) continue;
        features_.push_back(window.features);
        metrics_.queue_seconds.Observe(std::chrono::duration<double>(begun - window.queued).count());
    }
    scores_.resize(features_.size() * classifier_.classes());
    if (!features_.empty()) {
        classifier_.score(features_, scores_);
        metrics_.compute_seconds.Observe(seconds_since(begun));
        metrics_.batch_windows.Observe(static_cast<double>(features_.size()));
    }

    std::size_t row = 0;
    for (const auto& window : batch) {
        if (window.ends_stretch()) {
            end_stretch({window.source, window.channel});
            continue;
        }
        const auto scores = std::span(scores_).subspan(row++ * classifier_.classes(), classifier_.classes());
        if (std::any_of(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); })) {
            throw std::runtime_error(
                fmt::format("the model gave a score that is no number (source {}, channel {}, sample {})",
                            config_.sources[window.source].name, window.channel, window.start_sample));
        }
        detect(window, scores);
        runners_[window.source]->ledger().analysed(window.channel, window.booked_samples);
        metrics_.top_score.Observe(static_cast<double>(*std::max_element(scores.begin(), scores.end())));
        sink_.on_scores(window, scores);
    }
}

void Pipeline::detect(const Window& window, std::span<const float> scores) {
    const ChannelKey key{window.source, window.channel};
    auto found = detectors_.find(key);
    // The mark of a stretch's end may have been dropped under load: the number tells as well.
    if (found != detectors_.end() && found->second.stretch != window.stretch) {
        end_stretch(key);
        found = detectors_.end();
    }
    if (found == detectors_.end()) {
        found =
            detectors_
                .emplace(key,
                         ChannelDetector{Detector(settings_for(window.sample_rate_hz)), window.stretch, 0, {}, {}, {}})
                .first;
    }
    auto& channel = found->second;
    auto& last = channel.last;
    last.source = window.source;
    last.channel = window.channel;
    last.start_sample = window.start_sample;
    last.end_sample = window.end_sample;
    last.sample_rate_hz = window.sample_rate_hz;
    last.end_time = window.end_time;
    last.clock_synced = window.clock_synced;
    last.received = window.received;
    shifted_.assign(scores.begin(), scores.end());
    const auto prior = prior_of(window);
    for (std::size_t label = 0; label < prior.size(); ++label)
        shifted_[label] = shifted_score(shifted_[label], prior[label]);
    channel.detector.add(window.start_sample, window.end_sample, shifted_, detections_);
    tell(key, channel);
}

// [class], empty where there is none: it is off, or nobody knows when the window was.
std::span<const float> Pipeline::prior_of(const Window& window) const {
    if (!prior_ || !window.end_time) return {};
    return prior_->at(*window.end_time +
                      SampleClock::offset(window.start_sample - window.end_sample, window.sample_rate_hz));
}

void Pipeline::end_stretch(const ChannelKey& key) {
    const auto found = detectors_.find(key);
    if (found == detectors_.end()) return;
    found->second.detector.finish(detections_);
    tell(key, found->second);
    detectors_.erase(found);
}

// Makes events of the detections that the channel's detector has just found.
void Pipeline::tell(const ChannelKey& key, ChannelDetector& channel) {
    const Window& last = channel.last;
    for (const auto& detection : detections_) {
        Event event;
        event.phase = detection.phase;
        event.station = config_.station;
        event.source = config_.sources[key.first].name;
        event.channel = key.second;
        event.code = bundle_.labels[detection.label].code;
        event.label = bundle_.labels[detection.label].name;
        event.start_sample = detection.start_sample;
        event.end_sample = detection.end_sample;
        event.sample_rate_hz = last.sample_rate_hz;
        if (last.end_time) {
            // Said once and kept, so that a clock that is set meanwhile changes neither start nor id.
            auto& start = channel.starts[detection.label];
            if (detection.phase == EventPhase::kOpen) {
                start =
                    *last.end_time + SampleClock::offset(detection.start_sample - last.end_sample, last.sample_rate_hz);
            }
            event.start = start;
            event.end =
                *last.end_time + SampleClock::offset(detection.end_sample - last.end_sample, last.sample_rate_hz);
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
        event.model = bundle_.id;
        event.clock_synced = last.clock_synced;
        event.sound_received = last.received;
        if (grouper_ && grouper_->assign(event)) metrics_.events_grouped.Increment();
        metrics_.count_event(event.source, event.channel, event.code, to_string(event.phase));
        sink_.on_event(std::move(event));
    }
    detections_.clear();
    const auto rejected = channel.detector.rejected();
    if (rejected > channel.rejected_counted) {
        metrics_.count_rejected("min_windows", static_cast<double>(rejected - channel.rejected_counted));
        channel.rejected_counted = rejected;
    }
}

DetectorSettings Pipeline::settings_for(int sample_rate_hz) const {
    const auto samples = [&](double seconds) {
        return static_cast<std::int64_t>(std::llround(seconds * sample_rate_hz));
    };
    return {.thresholds = thresholds_,
            .hysteresis = config_.detection.hysteresis,
            .min_windows = min_windows_,
            .merge_gap_samples = samples(config_.detection.merge_gap_seconds),
            .update_samples = samples(config_.detection.update_seconds)};
}

}  // namespace chorus
