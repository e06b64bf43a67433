#include "daemon/source_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <random>
#include <stdexcept>
#include <utility>

#include "config/program.h"
#include "daemon/back_off.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kReadTimeout = 200ms;
constexpr auto kTurn = 500ms;      // between turns while nothing is read
constexpr auto kLook = 1s;         // between looks at the kernel's clock, the schedule and what is to be summed up
constexpr auto kOpening = 50ms;    // between turns while the source is being opened
constexpr auto kClosing = 1500ms;  // for the source to be closed; then it is left to that
constexpr auto kHoursGrace = 2s;   // sound may stay away for so long at the end of a schedule's hours

}  // namespace

SourceRunner::SourceRunner(std::size_t index, SourceConfig config, std::shared_ptr<const Model> model, Wiring wiring)
    : index_(index),
      config_(std::move(config)),
      wiring_(std::move(wiring)),
      silence_timeout_(config_.silence_timeout.value_or(wiring_.silence_timeout)),
      opened_(wiring_.utc_now()),
      door_(wiring_.open),
      log_(config_.name),
      cutter_(std::move(model), {.source = index_,
                                 .queue = wiring_.queue,
                                 .queue_windows = wiring_.queue_windows,
                                 .hop_seconds = wiring_.hop_seconds,
                                 .ledger = ledger_,
                                 .stamp = [this](Window& window) { stamp(window); },
                                 .stopping = [this] { return stopping_.load(); }}),
      last_turn_(std::chrono::steady_clock::now()) {
    report_.name = config_.name;
    report_.live = !config_.is_file;
    report_.silence_timeout = silence_timeout_;
    report_.wanted_hop_seconds = wiring_.hop_seconds;
    report_.listening_since = last_turn_;
}

SourceRunner::~SourceRunner() {
    request_stop();
}

void SourceRunner::start() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
        name_this_thread("src:" + config_.name);
        run(stop);
        // A runner whose source has ended may live as long as the pipeline; its device and its model must not.
        door_.leave();
        cutter_.leave_model();
        wiring_.on_end();
    });
}

void SourceRunner::request_stop() {
    stopping_ = true;
    thread_.request_stop();
    const std::lock_guard lock(mutex_);
    if (source_) source_->request_stop();
}

void SourceRunner::join() {
    if (thread_.joinable()) thread_.join();
}

void SourceRunner::change_model(std::shared_ptr<const Model> model) {
    const std::lock_guard lock(mutex_);
    next_model_ = std::move(model);
}

SourceReport SourceRunner::report() const {
    SourceReport report;
    {
        const std::lock_guard lock(mutex_);
        report = report_;
    }
    report.last_turn = last_turn_;
    report.channels = ledger_.report();
    return report;
}

void SourceRunner::run(const std::stop_token& stop) {
    BackOff back_off(std::random_device{}());
    while (!stop.stop_requested()) {
        try {
            turn();
            if (off_ && in_hours_) begin_hours();
            const auto outcome = in_hours_ ? listen(stop) : Outcome::kOffHours;
            if (outcome == Outcome::kStopped) break;
            if (outcome == Outcome::kOffHours) {
                if (!off_) end_hours();
                door_.decline();
                enter(SourceState::kOff, "");
                if (!wait(stop, kLook)) break;
                continue;
            }
            if (config_.is_file) return enter(SourceState::kEnded, "");
            throw std::runtime_error(fmt::format("{}: the stream ended", config_.name));
        } catch (const std::exception&) {
            const auto message = current_exception_message();
            cutter_.end_stretch(config_.is_file ? DropReason::kError : DropReason::kShort);
            if (config_.is_file) {
                log_.given_up(message);
                return enter(SourceState::kFailed, message);
            }
            const auto now = std::chrono::steady_clock::now();
            const auto pause = back_off.next(sound_since_ ? now - *sound_since_ : 0s);
            log_.failed(message, pause);
            status_.failed(now, message);
            if (!wait(stop, pause)) break;
        }
    }
    cutter_.end_stretch(DropReason::kShutdown);
    enter(SourceState::kEnded, "");
}

// Opens the source and reads it to its end, or until its hours are over; throws when it fails.
SourceRunner::Outcome SourceRunner::listen(const std::stop_token& stop) {
    sound_since_.reset();
    if (status_.state() == SourceState::kOff) enter(SourceState::kStarting, "");
    auto opened = open(stop);
    if (!opened) return in_hours_ ? Outcome::kStopped : Outcome::kOffHours;
    live_ = opened->is_live();
    {
        const std::lock_guard lock(mutex_);
        source_ = std::move(opened);
        report_.live = live_;
        report_.listening_since = std::chrono::steady_clock::now();
    }
    auto last_sound = std::chrono::steady_clock::now();
    AudioSource& source = *source_;
    struct Closer {
        SourceRunner& runner;
        ~Closer() {
            std::unique_ptr<AudioSource> closing;
            {
                const std::lock_guard lock(runner.mutex_);
                closing = std::move(runner.source_);
            }
            runner.door_.close(std::move(closing), kClosing);
        }
    } closer{*this};

    auto outcome = Outcome::kStopped;
    while (!stop.stop_requested() && outcome == Outcome::kStopped) {
        turn();
        if (!in_hours_) {
            outcome = Outcome::kOffHours;
            break;
        }
        const SourceItem item = source.read(kReadTimeout);
        if (const auto* block = std::get_if<AudioBlock>(&item)) {
            if (block->frames() == 0) continue;
            last_sound = block->received;
            if (!sound_since_) resume(*block);
            take(*block);
        } else if (const auto* gap = std::get_if<Gap>(&item)) {
            skip(*gap);
        } else if (std::holds_alternative<EndOfStream>(item)) {
            outcome = Outcome::kEnded;
        } else if (!config_.is_file && std::chrono::steady_clock::now() - last_sound > silence_timeout_) {
            const std::chrono::duration<double> silence = silence_timeout_;
            throw std::runtime_error(fmt::format("{}: no sound for {:g} s", config_.name, silence.count()));
        }
    }
    if (stop.stop_requested()) return Outcome::kStopped;
    cutter_.end_stretch(DropReason::kShort);
    return outcome;
}

// While the opening takes its time, the thread goes its rounds. Null when asked to stop or when the hours are over.
std::unique_ptr<AudioSource> SourceRunner::open(const std::stop_token& stop) {
    const auto begun = std::chrono::steady_clock::now();
    for (; !stop.stop_requested() && in_hours_; turn()) {
        if (auto opened = door_.open(config_, kOpening)) return opened;
        if (!config_.is_file && std::chrono::steady_clock::now() - begun > silence_timeout_)
            throw std::runtime_error(fmt::format("{}: {}", config_.name, door_.trouble()));
    }
    return nullptr;
}

// The samples of the time from the last sound's arrival to `until`: an estimate, as no one counted them.
std::int64_t SourceRunner::samples_missing(MonotonicTime until) const {
    const auto seconds = std::chrono::duration<double>(until - received_).count();
    return position_ == 0 ? 0 : std::max<std::int64_t>(0, std::llround(seconds * sample_rate_hz_));
}

// Sound that stayed away until the hours' end is lost.
void SourceRunner::end_hours() {
    off_ = true;
    const auto now = std::chrono::steady_clock::now();
    if (position_ > 0 && now - received_ > kHoursGrace) miss(samples_missing(now), "outage");
    received_ = now;
}

// What went by since they ended nobody wanted to hear: no loss.
void SourceRunner::begin_hours() {
    off_ = false;
    after_hours_ = true;
    const auto now = std::chrono::steady_clock::now();
    position_ += samples_missing(now);
    received_ = now;
}

// The first sound of an opening.
void SourceRunner::resume(const AudioBlock& block) {
    sound_since_ = block.received;
    const auto begun =
        block.received - std::chrono::duration_cast<MonotonicTime::duration>(
                             std::chrono::duration<double>(static_cast<double>(block.frames()) / block.sample_rate_hz));
    const auto missing = samples_missing(begun);
    if (position_ > 0 && after_hours_ && begun - received_ < silence_timeout_) {
        position_ += missing;
        clock_.restart();
    } else if (position_ > 0) {
        miss(missing, "reconnect");
        const std::lock_guard lock(mutex_);
        ++report_.reconnects;
    }
    received_ = begun;  // booked up to there, whatever becomes of this sound
    after_hours_ = false;
    index_offset_ = position_ - block.first_sample;
}

void SourceRunner::miss(std::int64_t samples, const char* reason) {
    skip({.samples = samples, .sample_rate_hz = sample_rate_hz_, .known = false, .reason = reason});
}

void SourceRunner::take(const AudioBlock& block) {
    const bool format_changed = block.sample_rate_hz != sample_rate_hz_ || block.channels != cutter_.channels();
    if (format_changed) begin_stretch(block);

    const std::int64_t first_sample = index_offset_ + block.first_sample;
    if (live_ && block.capture_time) observe_clock(block, first_sample);
    received_ = block.received;
    cutter_.widen_hop(live_ ? wiring_.hop_factor.load() : 1.0);
    status_.sound(block.received);

    const auto frames = static_cast<std::size_t>(block.frames());
    const auto channels = static_cast<std::size_t>(block.channels);
    channel_samples_.resize(frames);
    for (std::size_t channel = 0; channel < channels; ++channel) {
        for (std::size_t i = 0; i < frames; ++i) {
            const float sample = block.samples[i * channels + channel];
            channel_samples_[i] = std::isfinite(sample) ? sample : 0.0F;  // a float source may send what is no number
        }
        const int number = static_cast<int>(channel);
        const Level level = health_->push(number, channel_samples_);
        ledger_.heard(number, block.frames(), level.rms_dbfs, level.clipped);
        if (wiring_.memory) wiring_.memory->push(number, first_sample, sample_rate_hz_, channel_samples_);
        cutter_.cut(number, channel_samples_);
    }
    cutter_.push_all();
    tell_faults(health_->review());
    position_ = first_sample + block.frames();

    const std::lock_guard lock(mutex_);
    report_.last_sample = block.received;
    report_.sample_rate_hz = sample_rate_hz_;
    report_.hop_seconds = cutter_.hop_seconds();
    report_.clock_drift_ppm = clock_.drift_ppm();
}

void SourceRunner::observe_clock(const AudioBlock& block, std::int64_t first_sample) {
    if (block.sender_time != sender_time_) {
        sender_time_ = block.sender_time;
        clock_.restart();
    }
    const auto before = clock_.utc(first_sample);
    const bool was_set = block.dated_by_arrival
                             ? clock_.observe_arrival(first_sample, *block.capture_time, sample_rate_hz_)
                             : clock_.observe(first_sample, *block.capture_time, sample_rate_hz_);
    if (!was_set) return;
    const std::chrono::duration<double> jump = *clock_.utc(first_sample) - *before;
    log_.clock_set(sender_time_, jump, first_sample);
    const std::lock_guard lock(mutex_);
    ++report_.clock_steps;
}

void SourceRunner::skip(const Gap& gap) {
    cutter_.end_stretch(DropReason::kShort);
    position_ += gap.samples;
    if (!gap.known) clock_.restart();
    const double seconds = gap.sample_rate_hz > 0 ? static_cast<double>(gap.samples) / gap.sample_rate_hz : 0.0;
    auto text =
        fmt::format("{} of sound lost ({})",
                    gap.known ? fmt::format("{:.3f} s", seconds) : fmt::format("about {:.1f} s", seconds), gap.reason);
    log_.lost(text);
    status_.lost(std::chrono::steady_clock::now(), std::move(text));
    const std::lock_guard lock(mutex_);
    ++report_.gaps;
    report_.gap_seconds += seconds;
}

void SourceRunner::begin_stretch(const AudioBlock& block) {
    cutter_.end_stretch(DropReason::kShort);
    const std::int64_t first_sample = index_offset_ + block.first_sample;
    if (config_.is_file && config_.start && block.sample_rate_hz != sample_rate_hz_) {
        const auto time =
            clock_.utc(first_sample).value_or(*config_.start + SampleClock::offset(first_sample, block.sample_rate_hz));
        clock_.observe(first_sample, time, block.sample_rate_hz);
    }
    if (!health_ || health_->channels() != block.channels || block.sample_rate_hz != sample_rate_hz_) {
        health_.emplace(block.channels, block.sample_rate_hz);
        ledger_.clear_faults();
        status_.channel_faults("");
    }
    sample_rate_hz_ = block.sample_rate_hz;
    try {
        cutter_.begin_stretch(block.channels, sample_rate_hz_, first_sample, live_);
    } catch (const std::invalid_argument&) {
        std::throw_with_nested(std::runtime_error(config_.name));
    }
}

void SourceRunner::stamp(Window& window) const {
    if (!config_.is_file) window.opened = opened_;
    window.end_time = clock_.utc(window.end_sample);
    window.clock_synced = clock_synced_;
    window.clock_drift_ppm = clock_.drift_ppm();
    window.received = received_;
}

// The thread's round: shows that it is alive, takes over another model, and looks now and then at what changes slowly.
void SourceRunner::turn() {
    const auto now = std::chrono::steady_clock::now();
    last_turn_ = now;
    if (now - looked_ >= kLook) {
        looked_ = now;
        clock_synced_ = system_clock_is_synced();
        in_hours_ = config_.schedule.empty() || config_.schedule.open_at(wiring_.utc_now());
        log_.sum_up();
    }
    std::shared_ptr<const Model> model;
    {
        const std::lock_guard lock(mutex_);
        model.swap(next_model_);
    }
    if (model) cutter_.adopt(std::move(model));
    tell_state();
}

void SourceRunner::enter(SourceState state, const std::string& error) {
    status_.set(state, error);
    tell_state();
}

void SourceRunner::tell_state() {
    const bool changed = status_.update(std::chrono::steady_clock::now());
    {
        const std::lock_guard lock(mutex_);
        report_.state = status_.state();
        report_.error = status_.reason();
        report_.clock_synced = clock_synced_;
        report_.hopeless = door_.hopeless();
    }
    if (!changed) return;
    log_.state(status_.state(), status_.reason());
    wiring_.on_state_change();
}

void SourceRunner::tell_faults(const std::vector<int>& channels) {
    if (channels.empty()) return;
    for (const int channel : channels) {
        const auto faults = health_->faults(channel);
        ledger_.set_faults(channel, faults);
        log_.faults(channel, faults);
    }
    std::string all;
    for (int channel = 0; channel < health_->channels(); ++channel) {
        if (health_->faults(channel).none()) continue;
        all += fmt::format("{}channel {}: {}", all.empty() ? "" : "; ", channel, to_string(health_->faults(channel)));
    }
    status_.channel_faults(std::move(all));
}

// False when asked to stop.
bool SourceRunner::wait(const std::stop_token& stop, std::chrono::milliseconds time) {
    std::mutex mutex;
    std::condition_variable_any woken;
    std::unique_lock lock(mutex);
    const auto until = std::chrono::steady_clock::now() + time;
    while (!stop.stop_requested()) {
        turn();
        const auto now = std::chrono::steady_clock::now();
        if (now >= until) break;
        woken.wait_until(lock, stop, std::min(until, now + kTurn), [] { return false; });
    }
    return !stop.stop_requested();
}

}  // namespace chorus
