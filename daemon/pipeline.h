#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/analysis.h"
#include "daemon/config.h"
#include "daemon/hop_widener.h"
#include "daemon/metrics.h"
#include "daemon/model.h"
#include "daemon/shadow.h"
#include "daemon/sinks.h"
#include "daemon/source_runner.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// The whole path from sources to sinks: a thread a source, and those that score windows of all channels and sources
/// and tell the sinks of events. Its parts live as long as it does; sinks and metrics are the caller's.
class Pipeline {
  public:
    Pipeline(Config config, std::shared_ptr<const Model> model, DetectionSink& sink, Metrics& metrics,
             SourceRunner::Opener open);
    /// Stops.
    ~Pipeline();
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    void start();

    /// Looks after a live pipeline: widens the hop under overload, says what was dropped. Call a few times a second,
    /// from the thread that started it.
    void supervise(MonotonicTime now);

    /// Takes over the sources, [analysis] and [detection] of another configuration while sound flows, after start() and
    /// from the thread that called it. A source whose settings are the same isn't touched; of the others the sound that
    /// has come in is analysed, and their sample index and counts begin anew. New detection rules close open events.
    void reload(Config next);

    /// Swaps the model while sound flows, after start() and from the thread that called it. Each source goes over at
    /// its next block, see WindowCutter::adopt(); windows cut for the old model are scored by it. Its window is no
    /// shorter than the configured hop. A shadow's candidate that hears unlike the new model, or is it, is run no more.
    void swap(std::shared_ptr<const Model> model);
    /// See Analysis: a failure of this model ends nothing, but is told of. Any thread.
    void put_on_trial(const std::shared_ptr<const Model>& model) { analysis_.put_on_trial(model); }
    ModelTrial trial() const { return analysis_.trial(); }
    /// Runs a candidate in the model's shadow from now on, or none. Throws std::runtime_error where it hears unlike it.
    /// From the thread that called start().
    void shadow(std::shared_ptr<const Model> candidate);
    /// The model that new windows are for. Any thread.
    std::shared_ptr<const Model> model() const;
    /// What runs in its shadow; null: none does. Any thread.
    std::shared_ptr<const Model> candidate() const { return shadow_.candidate(); }

    /// All sources have ended and everything they gave is analysed, or the analysis failed. Any thread.
    bool finished() const { return analysis_.finished(); }
    /// Waits for that, at most so long.
    bool wait_finished(std::chrono::milliseconds timeout) { return analysis_.wait_finished(timeout); }
    /// Rethrows what broke the analysis, if anything did.
    void rethrow_failure() const { analysis_.rethrow_failure(); }

    /// Ends sources, analyses what is queued for at most `drain`, closes open events, joins the threads.
    void stop(std::chrono::milliseconds drain);

    /// Threads that score, each a batch of its own.
    std::size_t analysis_threads() const { return analysis_.threads(); }

    std::vector<SourceReport> sources() const;
    /// Why the daemon is not healthy; empty while every part makes progress. Any thread.
    std::string ill_health() const;
    /// Why a restart may help: a thread has not gone round its loop for longer than `patience`, or none of the sources
    /// that should has given sound for kDeaf, as supervise() saw it, though one did before. Else empty. Any thread.
    static constexpr std::chrono::minutes kDeaf{10};
    std::string stall(MonotonicTime now, std::chrono::milliseconds patience) const;
    /// Every source has given sound at least once, or has ended.
    bool all_sources_heard() const;
    /// At least one has.
    bool any_source_heard() const;
    /// At least one has, or none will soon: all are down, or half a minute has passed since the start.
    bool settled(MonotonicTime now) const;

  private:
    struct Slot {
        std::shared_ptr<SourceRunner> runner;  // null once it is retired and its last windows are told of
        bool retired = false;                  // no longer in the configuration; its last windows may still wait
        std::int64_t dropped_said = 0;
        std::optional<std::uint64_t> last_work;  // by then a retired one's windows are told of
    };
    std::shared_ptr<SourceRunner> add_source(const SourceConfig& source);
    void begin_hops_anew();
    std::shared_ptr<SourceRunner> runner(std::size_t source) const;
    std::vector<std::shared_ptr<SourceRunner>> active() const;
    void say_drops();
    void forget_retired();
    void listen(MonotonicTime now);

    Config config_;  // what reload() changes of it is read by its thread alone
    DetectionSink& sink_;
    Metrics& metrics_;
    const SourceRunner::Opener open_;

    LaneQueue<Window> queue_;
    mutable std::mutex slots_mutex_;      // guards slots_ and model_
    std::vector<Slot> slots_;             // by Window::source; only ever grows
    std::shared_ptr<const Model> model_;  // changed by the thread of start() alone
    std::atomic<std::size_t> running_sources_{0};
    HopWidener widener_;
    std::atomic<double> hop_factor_{1};
    MonotonicTime next_drops_{};
    MonotonicTime started_{};
    bool ever_heard_ = false;  // of supervise() alone
    std::atomic<MonotonicTime> deaf_since_{MonotonicTime::max()};

    Shadow shadow_;
    Analysis analysis_;
};

}  // namespace chorus
