#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/clip_store.h"
#include "daemon/config.h"
#include "daemon/metrics.h"
#include "daemon/repeat_limiter.h"
#include "daemon/sinks.h"
#include "daemon/sound_memory.h"
#include "model/bundle.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// Why a clip is kept.
enum class ClipKind {
    kEvent,      // an event's sound
    kUncertain,  // a window scored just below a class's threshold
    kRandom,     // by chance alone, so that what is never detected can be found
};
std::string to_string(ClipKind kind);  // "event", "uncertain", "random"

/// Keeps the sound that people may want to hear or label, and passes all it is told on to another sink. Sound is cut
/// from memory by sample index on the thread that tells of detections, which never waits: packing and writing is done
/// by a thread of its own, and what it has no time or no disk for is counted, said, and not kept.
class ClipKeeper : public DetectionSink {
  public:
    /// bundle: of the first model; others tell of themselves with their windows. Sink and metrics outlive it.
    ClipKeeper(ClipsConfig config, std::string station, const Bundle& bundle, DetectionSink& next, Metrics& metrics);
    /// Writes what waits, then ends.
    ~ClipKeeper() override;
    ClipKeeper(const ClipKeeper&) = delete;
    ClipKeeper& operator=(const ClipKeeper&) = delete;

    void on_event(Event event) override;
    void on_shadow_event(Event event) override { next_.on_shadow_event(std::move(event)); }
    void on_scores(const std::string& source, const Window& window, std::span<const float> scores) override;
    std::shared_ptr<SoundMemory> sound_memory(std::size_t source) override;
    void forget(std::size_t source) override;
    void status_soon() override { next_.status_soon(); }

    /// Thresholds that windows are held against, when the configuration changes them. Any thread.
    void adopt(const DetectionConfig& detection);

  private:
    /// A piece of one channel, and what is told of it.
    struct Clip {
        ClipKind kind = ClipKind::kEvent;
        std::size_t slot = 0;
        std::string source;
        int channel = 0;
        std::int64_t first = 0;   // wanted, in samples
        std::int64_t anchor = 0;  // must be in it
        std::int64_t end = 0;
        int sample_rate_hz = 0;
        std::optional<UtcTime> start;  // of `anchor`
        std::string model;             // id
        std::string code;
        float score = 0;
        std::string event;  // id
        std::string path;   // below the folder, without its ending
        Sound sound;
    };
    using Key = std::tuple<std::size_t, int, std::string>;  // slot, channel, code

    Clip clip_of(const Event& event) const;
    Clip clip_of(ClipKind kind, const std::string& source, const Window& window, std::size_t label, float score) const;
    void name(Clip& clip) const;
    void keep(Clip clip);
    void hold_against(const Model& model);
    std::chrono::milliseconds memory_length() const;
    void keep_uncertain(const std::string& source, const Window& window, std::span<const float> scores);
    void keep_random(const std::string& source, const Window& window);
    void run();
    void write(const Clip& clip);

    const ClipsConfig config_;
    const std::string station_;
    const std::string run_;  // tells this run's undated clips from those of another
    DetectionSink& next_;
    Metrics& metrics_;

    mutable std::mutex memories_mutex_;  // guards memories_ and window_seconds_
    std::map<std::size_t, std::shared_ptr<SoundMemory>> memories_;
    double window_seconds_;   // of the model
    std::mutex rules_mutex_;  // guards next_rules_
    std::optional<DetectionConfig> next_rules_;

    // Of the thread that tells of detections.
    std::map<Key, Clip> open_;         // of events that go on, until they are as long as a clip may be
    std::map<Key, std::string> kept_;  // paths of those that were cut before the event's end
    DetectionConfig rules_;
    std::string model_;                                    // id of the one whose windows come
    std::vector<float> thresholds_;                        // its own, [class]
    std::map<std::string, MonotonicTime> next_uncertain_;  // by code
    std::map<std::pair<std::size_t, int>, MonotonicTime> next_random_;
    std::mt19937_64 random_{std::random_device()()};

    LaneQueue<Clip> waiting_;

    // Of the writing thread.
    ClipStore store_;
    RepeatLimiter complaints_;
    std::jthread thread_;
};

}  // namespace chorus
