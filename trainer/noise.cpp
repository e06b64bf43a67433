#include "trainer/noise.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/detector.h"

namespace chorus {

double hours_of(std::span<const NoiseWindow> windows, double window_seconds) {
    double seconds = 0.0;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const bool follows = i > 0 && windows[i].stretch == windows[i - 1].stretch;
        seconds += follows ? std::min(window_seconds, windows[i].start_seconds - windows[i - 1].start_seconds)
                           : window_seconds;
    }
    return seconds / 3600.0;
}

int count_false_events(std::span<const NoiseWindow> windows, double window_seconds, std::span<const float> scores,
                       std::span<const float> thresholds) {
    constexpr std::int64_t kSamplesASecond = 1000;  // the detector counts in samples, of any rate
    const auto sample_of = [](double seconds) { return std::llround(seconds * kSamplesASecond); };
    const auto classes = thresholds.size();
    Detector detector({.thresholds = {thresholds.begin(), thresholds.end()},
                       .min_windows = std::vector<int>(classes, 1),
                       .merge_gap_samples = kSamplesASecond});
    std::vector<Detection> detections;
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const auto& [stretch, start] = windows[i];
        if (i > 0 && stretch != windows[i - 1].stretch) detector.finish(detections);
        detector.add(sample_of(start), sample_of(start + window_seconds), scores.subspan(i * classes, classes),
                     detections);
    }
    return static_cast<int>(std::count_if(detections.begin(), detections.end(), [](const Detection& detection) {
        return detection.phase == EventPhase::kOpen;
    }));
}

}  // namespace chorus
