#pragma once
// Scores over time -> events. Pure: no I/O, no clock, no threads.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace chorus {

struct DetectorSettings {
    std::vector<float> thresholds;          // [class], of the window's score
    double hysteresis = 0.7;                // a run goes on at threshold * hysteresis
    std::vector<int> min_windows;           // [class], a run is an event once it has so many hits
    std::int64_t merge_gap_samples = 0;     // hits no further apart than this belong to one run
    std::int64_t update_samples = 480'000;  // an open event is updated when it grew by so much
};

enum class EventPhase { kOpen, kUpdate, kClose };

struct Detection {
    std::size_t label = 0;
    EventPhase phase = EventPhase::kOpen;
    std::int64_t start_sample = 0;  // of the first hit's window
    std::int64_t end_sample = 0;    // of the last hit's window, one past its last sample
    float peak_score = 0;
    double mean_score = 0;  // over the hits
    int windows = 0;        // hits
    float threshold = 0;
    bool operator==(const Detection&) const = default;
};

/// The rule, per class: a run begins with a score at or above the threshold, and takes in every window whose score is
/// at or above threshold * hysteresis (a hit). It opens an event as soon as it has min_windows hits, and ends when a
/// window begins more than merge_gap after the last hit's end, or with finish(). One instance per source and channel.
class Detector {
  public:
    explicit Detector(DetectorSettings settings);

    /// Windows of one unbroken stretch, in order of their start; scores: [class]. Appends to `out`.
    void add(std::int64_t start_sample, std::int64_t end_sample, std::span<const float> scores,
             std::vector<Detection>& out);

    /// The stretch has ended (a gap, the end): closes what is open.
    void finish(std::vector<Detection>& out);

    /// Runs that ended with fewer hits than min_windows.
    std::int64_t rejected() const { return rejected_; }

  private:
    struct Run {
        bool active = false;
        bool open = false;
        std::int64_t start = 0;
        std::int64_t end = 0;
        std::int64_t said_end = 0;  // the end that subscribers know
        float peak = 0;
        double sum = 0;
        int hits = 0;
    };
    void end_run(std::size_t label, std::vector<Detection>& out);
    void say(std::size_t label, EventPhase phase, std::vector<Detection>& out);

    DetectorSettings settings_;
    std::vector<Run> runs_;
    std::int64_t rejected_ = 0;
};

}  // namespace chorus
