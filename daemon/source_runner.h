#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/channel_health.h"
#include "daemon/config.h"
#include "daemon/ledger.h"
#include "daemon/model.h"
#include "daemon/sound_memory.h"
#include "daemon/source_door.h"
#include "daemon/source_log.h"
#include "daemon/source_status.h"
#include "daemon/time_format.h"
#include "daemon/window.h"
#include "daemon/window_cutter.h"
#include "streaming/audio_source.h"
#include "streaming/lane_queue.h"
#include "streaming/sample_clock.h"

namespace chorus {

/// One source at one moment.
struct SourceReport {
    std::string name;
    SourceState state = SourceState::kStarting;
    std::string error;      // why it is not simply up
    bool hopeless = false;  // SourceDoor::hopeless()
    int sample_rate_hz = 0;
    bool live = true;
    double hop_seconds = 0;         // between windows
    double wanted_hop_seconds = 0;  // the configuration's
    std::int64_t reconnects = 0;
    std::int64_t gaps = 0;
    double gap_seconds = 0;
    bool clock_synced = false;
    std::optional<double> clock_drift_ppm;
    std::int64_t clock_steps = 0;
    std::chrono::milliseconds silence_timeout{};
    std::optional<MonotonicTime> last_sample;
    MonotonicTime listening_since;  // this opening's begin
    MonotonicTime last_turn;  // of the source's thread, at most 1 s apart; a file's stops while analysis is behind
    std::vector<ChannelReport> channels;
};

/// Keeps one source open, turns its sound into windows and puts them into its lane of the queue. Owns the thread that
/// does so. A live source that fails is opened again for ever, with back-off; a file that fails is given up. Outside
/// its schedule's hours a source is closed.
class SourceRunner {
  public:
    using Opener = SourceDoor::Opener;

    /// What the runner works with; the callbacks are called by its thread.
    struct Wiring {
        Opener open;
        LaneQueue<Window>& queue;
        int queue_windows = 16;  // room in the lane, for each channel
        double hop_seconds = 1.0;
        std::shared_ptr<SoundMemory> memory = {};           // keeps the sound for a while, if there
        const std::atomic<double>& hop_factor;              // of the hop of live sound, under overload
        std::chrono::milliseconds silence_timeout{10'000};  // where the source has none of its own
        std::function<void()> on_end = [] {};
        std::function<void()> on_state_change = [] {};
        std::function<UtcTime()> utc_now = chorus::utc_now;  // tells the schedule's hours
    };

    /// model: what its windows are cut for at first.
    SourceRunner(std::size_t index, SourceConfig config, std::shared_ptr<const Model> model, Wiring wiring);
    ~SourceRunner();
    SourceRunner(const SourceRunner&) = delete;
    SourceRunner& operator=(const SourceRunner&) = delete;

    void start();
    /// Asks the thread to end; returns at once. Any thread.
    void request_stop();
    void join();

    /// Its windows are cut for another model from now on, see WindowCutter::adopt(). Any thread.
    void change_model(std::shared_ptr<const Model> model);

    SourceReport report() const;
    const SourceConfig& config() const { return config_; }
    Ledger& ledger() { return ledger_; }

  private:
    enum class Outcome { kStopped, kEnded, kOffHours };

    void run(const std::stop_token& stop);
    Outcome listen(const std::stop_token& stop);
    std::unique_ptr<AudioSource> open(const std::stop_token& stop);
    std::int64_t samples_missing(MonotonicTime until) const;
    void begin_hours();
    void end_hours();
    void resume(const AudioBlock& block);
    void miss(std::int64_t samples, const char* reason);
    void take(const AudioBlock& block);
    void observe_clock(const AudioBlock& block, std::int64_t first_sample);
    void skip(const Gap& gap);
    void begin_stretch(const AudioBlock& block);
    void stamp(Window& window) const;
    void turn();
    void enter(SourceState state, const std::string& error);
    void tell_state();
    void tell_faults(const std::vector<int>& channels);
    bool wait(const std::stop_token& stop, std::chrono::milliseconds time);

    const std::size_t index_;
    const SourceConfig config_;
    const Wiring wiring_;
    const std::chrono::milliseconds silence_timeout_;
    Ledger ledger_;

    // Of the thread alone.
    const UtcTime opened_;
    SourceDoor door_;
    SourceLog log_;
    WindowCutter cutter_;
    std::vector<float> channel_samples_;
    std::optional<ChannelHealth> health_;
    SampleClock clock_;
    SourceStatus status_;
    std::int64_t position_ = 0;      // the source's index of the next sample
    std::int64_t index_offset_ = 0;  // of the open AudioSource's own index
    int sample_rate_hz_ = 0;
    bool live_ = true;
    bool sender_time_ = false;
    bool clock_synced_ = false;
    bool in_hours_ = true;
    bool off_ = false;                          // outside the hours
    bool after_hours_ = false;                  // no sound yet since they began
    MonotonicTime received_;                    // the last sound, or what its absence was booked up to
    MonotonicTime looked_;                      // at what is looked at once a second
    std::optional<MonotonicTime> sound_since_;  // of this opening

    mutable std::mutex mutex_;  // guards source_, next_model_ and report_
    std::unique_ptr<AudioSource> source_;
    std::shared_ptr<const Model> next_model_;  // until the thread has taken it over
    SourceReport report_;

    std::atomic<MonotonicTime> last_turn_;
    std::atomic<bool> stopping_{false};
    std::jthread thread_;
};

}  // namespace chorus
