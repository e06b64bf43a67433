#pragma once
// False events in sound in which nothing calls.

#include <cstdint>
#include <span>

namespace chorus {

struct NoiseWindow {
    std::uint32_t stretch = 0;  // of unbroken sound: a recording and a channel
    double start_seconds = 0.0;
};

/// Hours that the windows cover, each second of a stretch counted once. windows: each stretch's together, in order of
/// their start.
double hours_of(std::span<const NoiseWindow> windows, double window_seconds);

/// Events of all classes by the detector that serves (model/detector.h) with its default rule: hysteresis 0.7, one
/// window, a merge gap of 1 s. scores: [windows, classes]; thresholds: [classes].
int count_false_events(std::span<const NoiseWindow> windows, double window_seconds, std::span<const float> scores,
                       std::span<const float> thresholds);

}  // namespace chorus
