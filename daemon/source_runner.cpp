#include "daemon/source_runner.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <random>
#include <stdexcept>

#include "config/program.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kReadTimeout = 200ms;
constexpr auto kFirstBackOff = 500ms;
constexpr auto kLongestBackOff = 30'000ms;
constexpr auto kStablePeriod = 60s;  // up for so long, the next failure begins with the first back-off again

// Full scale of 16-bit sound, the narrowest that stations record.
constexpr float kClipLevel = 32767.0F / 32768.0F;

struct Level {
    double rms_dbfs;
    std::int64_t clipped;
};

Level measure(std::span<const float> samples) {
    double energy = 0;
    std::int64_t clipped = 0;
    for (const float sample : samples) {
        energy += static_cast<double>(sample) * sample;
        clipped += std::abs(sample) >= kClipLevel ? 1 : 0;
    }
    const double mean = energy / static_cast<double>(std::max<std::size_t>(samples.size(), 1));
    return {10.0 * std::log10(std::max(mean, 1e-20)), clipped};
}

}  // namespace

std::string to_string(SourceState state) {
    switch (state) {
        case SourceState::kStarting:
            return "starting";
        case SourceState::kUp:
            return "up";
        case SourceState::kDown:
            return "down";
        case SourceState::kEnded:
            return "ended";
        case SourceState::kFailed:
            return "failed";
    }
    return "unknown";
}

SourceRunner::SourceRunner(std::size_t index, SourceConfig config, Opener open, const FrontEnd& front_end,
                           double hop_seconds, const std::atomic<double>& hop_factor,
                           std::chrono::milliseconds silence_timeout, LaneQueue<Window>& queue,
                           std::function<void()> on_end)
    : index_(index),
      config_(std::move(config)),
      open_(std::move(open)),
      front_end_(front_end),
      hop_seconds_(hop_seconds),
      hop_factor_(hop_factor),
      silence_timeout_(silence_timeout),
      queue_(queue),
      on_end_(std::move(on_end)) {
    report_.name = config_.name;
    report_.live = !config_.is_file;
    report_.listening_since = std::chrono::steady_clock::now();
}

SourceRunner::~SourceRunner() {
    request_stop();
}

void SourceRunner::start() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
        name_this_thread("src:" + config_.name);
        run(stop);
        on_end_();
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

SourceReport SourceRunner::report() const {
    SourceReport report;
    {
        const std::lock_guard lock(mutex_);
        report = report_;
    }
    report.channels = ledger_.report();
    return report;
}

void SourceRunner::run(const std::stop_token& stop) {
    std::minstd_rand jitter(std::random_device{}());
    auto back_off = std::chrono::milliseconds(kFirstBackOff);
    while (!stop.stop_requested()) {
        const auto began = std::chrono::steady_clock::now();
        try {
            listen(stop);
            if (stop.stop_requested()) break;
            if (config_.is_file) {
                set_state(SourceState::kEnded, "");
                return;
            }
            throw std::runtime_error(fmt::format("{}: the stream ended", config_.name));
        } catch (const std::exception&) {
            const auto message = current_exception_message();
            end_stretch(config_.is_file ? DropReason::kError : DropReason::kShort);
            if (config_.is_file) {
                spdlog::error("source {}", message);
                set_state(SourceState::kFailed, message);
                return;
            }
            if (std::chrono::steady_clock::now() - began >= kStablePeriod) back_off = kFirstBackOff;
            const auto pause =
                back_off / 2 + std::chrono::milliseconds(jitter() % static_cast<unsigned>(back_off.count()));
            spdlog::warn("source {}; trying again in {:.1f} s", message, static_cast<double>(pause.count()) / 1000.0);
            set_state(SourceState::kDown, message);
            if (!wait(stop, pause)) break;
            back_off = std::min(back_off * 2, std::chrono::milliseconds(kLongestBackOff));
        }
    }
    end_stretch(DropReason::kShutdown);
    set_state(SourceState::kEnded, "");
}

// Opens the source and reads it to its end; throws when it fails.
void SourceRunner::listen(const std::stop_token& stop) {
    auto opened = open_(config_);
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
            const std::lock_guard lock(runner.mutex_);
            closing = std::move(runner.source_);
        }
    } closer{*this};

    bool first = true;
    while (!stop.stop_requested()) {
        const SourceItem item = source.read(kReadTimeout);
        if (const auto* block = std::get_if<AudioBlock>(&item)) {
            if (block->frames() == 0) continue;
            last_sound = block->received;
            if (first) {
                first = false;
                // While it was away, sound went by: an estimate, as no one counted it.
                if (position_ > 0 && sample_rate_hz_ > 0) {
                    const auto away = std::chrono::duration<double>(block->received - went_down_).count();
                    skip({.samples = static_cast<std::int64_t>(away * sample_rate_hz_),
                          .sample_rate_hz = sample_rate_hz_,
                          .known = false,
                          .reason = "reconnect"});
                    const std::lock_guard lock(mutex_);
                    ++report_.reconnects;
                }
                index_offset_ = position_ - block->first_sample;
                set_state(SourceState::kUp, "");
            }
            take(*block);
        } else if (const auto* gap = std::get_if<Gap>(&item)) {
            skip(*gap);
        } else if (std::holds_alternative<EndOfStream>(item)) {
            break;
        } else if (!config_.is_file && std::chrono::steady_clock::now() - last_sound > silence_timeout_) {
            const std::chrono::duration<double> silence = silence_timeout_;
            throw std::runtime_error(fmt::format("{}: no sound for {:g} s", config_.name, silence.count()));
        }
    }
    if (!stop.stop_requested()) end_stretch(DropReason::kShort);
}

void SourceRunner::take(const AudioBlock& block) {
    const bool format_changed =
        block.sample_rate_hz != sample_rate_hz_ || static_cast<std::size_t>(block.channels) != channels_.size();
    if (channels_.empty() || format_changed) begin_stretch(block);

    const std::int64_t first_sample = index_offset_ + block.first_sample;
    if (live_) {
        clock_synced_ = system_clock_is_synced();
        if (block.capture_time) clock_.observe(first_sample, *block.capture_time, sample_rate_hz_);
    }
    received_ = block.received;
    const double hop_factor = live_ ? hop_factor_.load() : 1.0;
    for (auto& channel : channels_) channel.widen_hop(hop_factor);

    const auto frames = static_cast<std::size_t>(block.frames());
    const auto channels = static_cast<std::size_t>(block.channels);
    channel_samples_.resize(frames);
    for (std::size_t channel = 0; channel < channels; ++channel) {
        for (std::size_t i = 0; i < frames; ++i) {
            const float sample = block.samples[i * channels + channel];
            channel_samples_[i] = std::isfinite(sample) ? sample : 0.0F;  // a float source may send what is no number
        }
        const Level level = measure(channel_samples_);
        const int number = static_cast<int>(channel);
        ledger_.heard(number, block.frames(), level.rms_dbfs, level.clipped);
        channels_[channel].push(channel_samples_, [&](Window&& window) { put(number, std::move(window)); });
    }
    position_ = first_sample + block.frames();

    const std::lock_guard lock(mutex_);
    report_.last_sample = block.received;
    report_.sample_rate_hz = sample_rate_hz_;
    report_.clock_synced = clock_synced_;
    report_.hop_seconds = channels_[0].hop_seconds();
}

void SourceRunner::skip(const Gap& gap) {
    end_stretch(DropReason::kShort);
    position_ += gap.samples;
    const double seconds = gap.sample_rate_hz > 0 ? static_cast<double>(gap.samples) / gap.sample_rate_hz : 0.0;
    spdlog::warn("source {}: {} of sound lost ({})", config_.name,
                 gap.known ? fmt::format("{:.3f} s", seconds) : fmt::format("about {:.1f} s", seconds), gap.reason);
    const std::lock_guard lock(mutex_);
    ++report_.gaps;
    report_.gap_seconds += seconds;
}

void SourceRunner::begin_stretch(const AudioBlock& block) {
    end_stretch(DropReason::kShort);
    sample_rate_hz_ = block.sample_rate_hz;
    ledger_.ensure_channels(block.channels);
    const std::int64_t first_sample = index_offset_ + block.first_sample;
    if (config_.is_file && config_.start) clock_.observe(0, *config_.start, sample_rate_hz_);
    channels_.clear();
    channels_.reserve(static_cast<std::size_t>(block.channels));
    try {
        for (int channel = 0; channel < block.channels; ++channel) {
            channels_.emplace_back(front_end_, sample_rate_hz_, hop_seconds_, first_sample);
        }
    } catch (const std::invalid_argument&) {
        channels_.clear();
        std::throw_with_nested(std::runtime_error(config_.name));
    }
}

// Lets the last windows out and marks the end, so that open events are closed. `rest`: how sound that no window holds
// is booked.
void SourceRunner::end_stretch(DropReason rest) {
    if (channels_.empty()) return;
    for (std::size_t channel = 0; channel < channels_.size(); ++channel) {
        const int number = static_cast<int>(channel);
        std::int64_t left = channels_[channel].unbooked();
        if (rest != DropReason::kShutdown) {
            left = channels_[channel].finish([&](Window&& window) { put(number, std::move(window)); });
        }
        if (left > 0) ledger_.dropped(number, left, rest);
        put(number, Window{});
    }
    channels_.clear();
    ++stretch_;
    went_down_ = std::chrono::steady_clock::now();
}

void SourceRunner::put(int channel, Window window) {
    window.source = index_;
    window.channel = channel;
    window.stretch = stretch_;
    window.hop_seconds = channels_.empty() ? hop_seconds_ : channels_[0].hop_seconds();
    window.end_time = clock_.utc(window.end_sample);
    window.clock_synced = clock_synced_;
    window.received = received_;
    window.queued = std::chrono::steady_clock::now();
    auto refused =
        live_ ? queue_.push_drop_oldest(index_, std::move(window)) : queue_.push_wait(index_, std::move(window));
    if (refused && refused->booked_samples > 0) {
        ledger_.dropped(refused->channel, refused->booked_samples,
                        stopping_ ? DropReason::kShutdown : DropReason::kOverload);
    }
}

void SourceRunner::set_state(SourceState state, const std::string& error) {
    SourceState before{};
    {
        const std::lock_guard lock(mutex_);
        before = report_.state;
        report_.state = state;
        report_.error = error;
    }
    if (state == SourceState::kUp && before != SourceState::kUp)
        spdlog::info("source {}: sound comes in", config_.name);
    if (state == SourceState::kEnded && before != state) spdlog::info("source {}: ended", config_.name);
}

// False when asked to stop.
bool SourceRunner::wait(const std::stop_token& stop, std::chrono::milliseconds time) {
    std::mutex mutex;
    std::condition_variable_any woken;
    std::unique_lock lock(mutex);
    woken.wait_for(lock, stop, time, [] { return false; });
    return !stop.stop_requested();
}

}  // namespace chorus
