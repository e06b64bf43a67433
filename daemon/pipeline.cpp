#include "daemon/pipeline.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kStuckAfter = 30s;    // windows wait and none was scored for so long: the analysis is stuck
constexpr auto kSettleWithin = 30s;  // a start doesn't wait longer for sound
constexpr auto kDropInterval = 10s;  // between log lines on what a source lost to overload

bool is_heard(const SourceReport& source) {
    return source.last_sample || source.state == SourceState::kEnded || source.state == SourceState::kFailed ||
           source.state == SourceState::kOff;
}

double seconds_since(MonotonicTime then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

}  // namespace

Pipeline::Pipeline(Config config, std::shared_ptr<const Model> model, DetectionSink& sink, Metrics& metrics,
                   SourceRunner::Opener open)
    : config_(std::move(config)),
      sink_(sink),
      metrics_(metrics),
      open_(std::move(open)),
      queue_(0, 1),
      model_(std::move(model)),
      widener_(model_->bundle().front_end.window_seconds / config_.hop_seconds, config_.queue_windows),
      shadow_(
          config_.station, [this] { return queue_.size() > 0; }, sink_, metrics_),
      analysis_(config_, model_,
                {.queue = queue_,
                 .sink = sink_,
                 .metrics = metrics_,
                 .shadow = shadow_,
                 .source = [this](std::size_t source) { return runner(source); }}) {
    metrics_.set_model(model_->bundle());
    for (const auto& source : config_.sources) add_source(source);
    metrics_.watch_sources([this] { return sources(); });
}

Pipeline::~Pipeline() {
    metrics_.watch_sources({});
    stop(0ms);
}

void Pipeline::start() {
    started_ = std::chrono::steady_clock::now();
    analysis_.start();
    for (const auto& runner : active()) runner->start();
}

std::shared_ptr<SourceRunner> Pipeline::add_source(const SourceConfig& source) {
    const std::size_t lane = queue_.add_lane(static_cast<std::size_t>(config_.queue_windows));
    ++running_sources_;
    // The last source to end closes the queue: after it, what is queued is all there is.
    SourceRunner::Wiring wiring{.open = open_,
                                .queue = queue_,
                                .queue_windows = config_.queue_windows,
                                .hop_seconds = config_.hop_seconds,
                                .memory = sink_.sound_memory(lane),
                                .hop_factor = hop_factor_,
                                .silence_timeout = config_.silence_timeout,
                                .on_end =
                                    [this] {
                                        if (--running_sources_ == 0) queue_.close();
                                    },
                                .on_state_change = [this] { sink_.status_soon(); }};
    auto runner = std::make_shared<SourceRunner>(lane, source, model_, std::move(wiring));
    const std::lock_guard lock(slots_mutex_);
    slots_.emplace_back().runner = runner;
    return runner;
}

std::shared_ptr<SourceRunner> Pipeline::runner(std::size_t source) const {
    const std::lock_guard lock(slots_mutex_);
    return slots_[source].runner;
}

std::vector<std::shared_ptr<SourceRunner>> Pipeline::active() const {
    std::vector<std::shared_ptr<SourceRunner>> runners;
    const std::lock_guard lock(slots_mutex_);
    for (const auto& slot : slots_) {
        if (!slot.retired) runners.push_back(slot.runner);
    }
    return runners;
}

void Pipeline::reload(Config next) {
    ++running_sources_;  // while the old have ended and the new not begun, the queue stays open
    const bool all_anew = next.hop_seconds != config_.hop_seconds || next.silence_timeout != config_.silence_timeout;
    std::vector<std::shared_ptr<SourceRunner>> ending;
    std::vector<SourceConfig> beginning = next.sources;
    {
        const std::lock_guard lock(slots_mutex_);
        for (auto& slot : slots_) {
            if (slot.retired) continue;
            const auto same = std::find(beginning.begin(), beginning.end(), slot.runner->config());
            if (same != beginning.end() && !all_anew) {
                beginning.erase(same);
            } else {
                slot.retired = true;
                ending.push_back(slot.runner);
            }
        }
    }
    for (const auto& runner : ending) runner->request_stop();
    for (const auto& runner : ending) runner->join();

    const bool detection_changed = next.detection != config_.detection;
    config_.hop_seconds = next.hop_seconds;
    config_.silence_timeout = next.silence_timeout;
    config_.widen_hop = next.widen_hop;
    config_.sources = next.sources;
    config_.detection = next.detection;
    if (detection_changed) {
        analysis_.adopt(next.detection);
        if (auto candidate = shadow_.candidate()) shadow_.compare(model_, std::move(candidate), next.detection);
    }
    if (all_anew) begin_hops_anew();
    for (const auto& source : beginning) add_source(source)->start();
    spdlog::info("{} source(s) ended, {} begun, {} not touched", ending.size(), beginning.size(),
                 config_.sources.size() - beginning.size());
    if (--running_sources_ == 0) queue_.close();
}

void Pipeline::begin_hops_anew() {
    widener_ = HopWidener(model_->bundle().front_end.window_seconds / config_.hop_seconds, config_.queue_windows);
    hop_factor_ = 1;
}

void Pipeline::swap(std::shared_ptr<const Model> model) {
    const auto old = model_;
    {
        const std::lock_guard lock(slots_mutex_);
        model_ = model;
    }
    analysis_.adopt(model);
    for (const auto& runner : active()) runner->change_model(model);
    metrics_.set_model(model->bundle());
    metrics_.model_swaps.Increment();
    if (!model->hears_as(*old)) begin_hops_anew();
    if (auto candidate = shadow_.candidate()) {
        const bool goes_on = candidate->id() != model->id() && candidate->hears_as(*model);
        shadow_.compare(model, goes_on ? std::move(candidate) : nullptr, config_.detection);
    }
    sink_.status_soon();
}

void Pipeline::shadow(std::shared_ptr<const Model> candidate) {
    if (candidate && !candidate->hears_as(*model_)) {
        throw std::runtime_error(
            fmt::format("model {} has another front-end than the one in use, {}: it can't run in its shadow",
                        candidate->id(), model_->id()));
    }
    shadow_.compare(model_, std::move(candidate), config_.detection);
}

std::shared_ptr<const Model> Pipeline::model() const {
    const std::lock_guard lock(slots_mutex_);
    return model_;
}

void Pipeline::supervise(MonotonicTime now) {
    double fill = 0;  // of the fullest lane of live sound
    {
        const std::lock_guard lock(slots_mutex_);
        for (std::size_t i = 0; i < slots_.size(); ++i) {
            if (!slots_[i].retired && !slots_[i].runner->config().is_file) fill = std::max(fill, queue_.fill(i));
        }
    }
    const double factor = config_.widen_hop ? widener_.update(now, fill * config_.queue_windows) : 1;
    if (factor != hop_factor_) {
        const double before = hop_factor_.exchange(factor);
        spdlog::warn("analysis: {}; from now on a window every {:g} s",
                     factor > before ? "falls behind" : "has caught up", config_.hop_seconds * factor);
    }
    if (now >= next_drops_) {
        say_drops();
        next_drops_ = now + kDropInterval;
    }
    forget_retired();
    listen(now);
}

// A daily reload over a year must not keep thousands of sources.
void Pipeline::forget_retired() {
    std::vector<std::shared_ptr<SourceRunner>> forgotten;  // go without the lock
    const std::lock_guard lock(slots_mutex_);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        auto& slot = slots_[i];
        if (!slot.retired || !slot.runner) continue;
        if (!slot.last_work && queue_.fill(i) == 0) slot.last_work = analysis_.taken() + 1;
        if (slot.last_work && analysis_.told() >= *slot.last_work) {
            forgotten.push_back(std::move(slot.runner));
            sink_.forget(i);
        }
    }
}

void Pipeline::listen(MonotonicTime now) {
    bool should_sound = false;
    bool sounds = false;
    for (const auto& source : sources()) {
        const bool off = source.state == SourceState::kOff || source.state == SourceState::kEnded ||
                         source.state == SourceState::kFailed;
        should_sound = should_sound || !off;
        sounds = sounds || !source.live || (source.last_sample && now - *source.last_sample < source.silence_timeout);
    }
    ever_heard_ = ever_heard_ || sounds;
    if (sounds || !should_sound || !ever_heard_) {
        deaf_since_ = MonotonicTime::max();
    } else if (deaf_since_.load() == MonotonicTime::max()) {
        deaf_since_ = now;
    }
}

// Exact counts, at most one line an interval and source.
void Pipeline::say_drops() {
    std::vector<std::string> lines;  // written without the lock, which the analysis takes for each window
    {
        const std::lock_guard lock(slots_mutex_);
        for (auto& slot : slots_) {
            if (!slot.runner) continue;
            const auto report = slot.runner->report();
            std::int64_t dropped = 0;
            for (const auto& channel : report.channels)
                dropped += channel.samples.dropped[static_cast<std::size_t>(DropReason::kOverload)];
            if (dropped > slot.dropped_said && report.sample_rate_hz > 0) {
                lines.push_back(
                    fmt::format("source {}: analysis falls behind: {} samples dropped since the last such line ({:.1f} "
                                "channel-seconds)",
                                report.name, dropped - slot.dropped_said,
                                static_cast<double>(dropped - slot.dropped_said) / report.sample_rate_hz));
            }
            slot.dropped_said = dropped;
        }
    }
    for (const auto& line : lines) spdlog::warn("{}", line);
}

void Pipeline::stop(std::chrono::milliseconds drain) {
    analysis_.drain_until(std::chrono::steady_clock::now() + drain);
    const auto runners = active();
    for (const auto& runner : runners) runner->request_stop();
    queue_.close();
    analysis_.join();
    for (const auto& runner : runners) runner->join();
    shadow_.stop();
}

std::vector<SourceReport> Pipeline::sources() const {
    std::vector<SourceReport> reports;
    for (const auto& runner : active()) reports.push_back(runner->report());
    return reports;
}

std::string Pipeline::ill_health() const {
    if (analysis_.failed()) return "analysis: failed";
    const double idle = seconds_since(analysis_.last_progress());
    if (!finished() && queue_.size() > 0 && idle > std::chrono::duration<double>(kStuckAfter).count()) {
        return fmt::format("analysis: no window scored for {:.0f} s while {} wait", idle, queue_.size());
    }
    for (const auto& source : sources()) {
        const double silence = std::chrono::duration<double>(source.silence_timeout).count();
        if (source.state == SourceState::kDown) return fmt::format("source {}: {}", source.name, source.error);
        if (source.state == SourceState::kFailed) return fmt::format("source {}", source.error);
        const bool listening = gives_sound(source.state) || source.state == SourceState::kStarting;
        const double quiet =
            seconds_since(std::max(source.last_sample.value_or(source.listening_since), source.listening_since));
        if (source.live && listening && quiet > silence) {
            return fmt::format("source {}: no sound for {:.0f} s", source.name, quiet);
        }
    }
    return "";
}

std::string Pipeline::stall(MonotonicTime now, std::chrono::milliseconds patience) const {
    if (!finished() && now - analysis_.last_progress() > patience) return "the analysis is stuck";
    // Once: the next process waits for its first sound without limit.
    if (now > deaf_since_.load() && now - deaf_since_.load() > kDeaf)
        return fmt::format("no source has given sound for {} min", kDeaf.count());
    const auto reports = sources();
    // Not while another source gives sound: that the restart mends it isn't sure, that it costs sound is.
    const bool silent =
        std::none_of(reports.begin(), reports.end(), [](const auto& source) { return gives_sound(source.state); });
    for (const auto& source : reports) {
        if (silent && source.hopeless) return fmt::format("source {}: {}", source.name, source.error);
        // A file's thread stands still while it waits for the analysis, and one that has ended for good.
        const bool ended = source.state == SourceState::kEnded || source.state == SourceState::kFailed;
        if (source.live && !ended && now - source.last_turn > patience)
            return fmt::format("source {} is stuck", source.name);
    }
    return "";
}

bool Pipeline::all_sources_heard() const {
    const auto reports = sources();
    return std::all_of(reports.begin(), reports.end(), &is_heard);
}

bool Pipeline::any_source_heard() const {
    const auto reports = sources();
    return std::any_of(reports.begin(), reports.end(), &is_heard);
}

bool Pipeline::settled(MonotonicTime now) const {
    const auto reports = sources();
    return now - started_ >= kSettleWithin || std::any_of(reports.begin(), reports.end(), &is_heard) ||
           std::none_of(reports.begin(), reports.end(),
                        [](const auto& source) { return source.state == SourceState::kStarting; });
}

}  // namespace chorus
