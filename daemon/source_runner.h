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

#include "daemon/channel_analyser.h"
#include "daemon/config.h"
#include "daemon/ledger.h"
#include "daemon/window.h"
#include "model/front_end.h"
#include "streaming/audio_source.h"
#include "streaming/lane_queue.h"
#include "streaming/sample_clock.h"

namespace chorus {

enum class SourceState { kStarting, kUp, kDown, kEnded, kFailed };
std::string to_string(SourceState state);

/// One source at one moment.
struct SourceReport {
    std::string name;
    SourceState state = SourceState::kStarting;
    std::string error;  // why it is down or failed
    int sample_rate_hz = 0;
    bool live = true;
    double hop_seconds = 0;  // between windows
    std::int64_t reconnects = 0;
    std::int64_t gaps = 0;
    double gap_seconds = 0;
    bool clock_synced = false;
    std::optional<MonotonicTime> last_sample;
    MonotonicTime listening_since;  // this opening's begin
    std::vector<ChannelReport> channels;
};

/// Keeps one source open, turns its sound into windows and puts them into its lane of the queue. Owns the thread that
/// does so. A live source that fails is opened again for ever, with back-off; a file that fails is given up.
class SourceRunner {
  public:
    using Opener = std::function<std::unique_ptr<AudioSource>(const SourceConfig&)>;

    SourceRunner(std::size_t index, SourceConfig config, Opener open, const FrontEnd& front_end, double hop_seconds,
                 const std::atomic<double>& hop_factor, std::chrono::milliseconds silence_timeout,
                 LaneQueue<Window>& queue, std::function<void()> on_end);
    ~SourceRunner();
    SourceRunner(const SourceRunner&) = delete;
    SourceRunner& operator=(const SourceRunner&) = delete;

    void start();
    /// Asks the thread to end; returns at once. Any thread.
    void request_stop();
    void join();

    SourceReport report() const;
    const SourceConfig& config() const { return config_; }
    Ledger& ledger() { return ledger_; }

  private:
    void run(const std::stop_token& stop);
    void listen(const std::stop_token& stop);
    void take(const AudioBlock& block);
    void skip(const Gap& gap);
    void begin_stretch(const AudioBlock& block);
    void end_stretch(DropReason rest);
    void keep(int channel, Window window);
    void put_in_order();
    void put(int channel, Window window);
    void set_state(SourceState state, const std::string& error);
    bool wait(const std::stop_token& stop, std::chrono::milliseconds time);

    const std::size_t index_;
    const SourceConfig config_;
    const Opener open_;
    const FrontEnd& front_end_;
    const double hop_seconds_;
    const std::atomic<double>& hop_factor_;  // of the hop of live sound, under overload
    const std::chrono::milliseconds silence_timeout_;
    LaneQueue<Window>& queue_;
    const std::function<void()> on_end_;
    Ledger ledger_;

    // Of the thread alone.
    std::vector<ChannelAnalyser> channels_;
    std::vector<float> channel_samples_;
    std::vector<Window> cut_;  // from the block at hand
    SampleClock clock_;
    std::int64_t position_ = 0;      // the source's index of the next sample
    std::int64_t index_offset_ = 0;  // of the open AudioSource's own index
    std::int64_t stretch_ = 0;
    int sample_rate_hz_ = 0;
    bool live_ = true;
    bool clock_synced_ = false;
    MonotonicTime received_;
    MonotonicTime went_down_;

    mutable std::mutex mutex_;  // guards source_ and report_
    std::unique_ptr<AudioSource> source_;
    SourceReport report_;

    std::atomic<bool> stopping_{false};
    std::jthread thread_;
};

}  // namespace chorus
