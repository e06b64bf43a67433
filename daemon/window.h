#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "streaming/audio_block.h"

namespace chorus {

class Model;

/// Where and when a window of one channel is; positions are the source's sample indices.
struct WindowInfo {
    std::size_t source = 0;
    int channel = 0;
    std::int64_t stretch = 0;  // counts the unbroken stretches of the source; no event spans two
    std::int64_t start_sample = 0;
    std::int64_t end_sample = 0;
    std::int64_t booked_samples = 0;  // those no earlier window of the stretch holds
    int sample_rate_hz = 0;
    double hop_seconds = 0;  // to the next window's start
    UtcTime opened{};        // when a live source was first opened; a file's index alone tells its sound
    std::optional<UtcTime> end_time;
    bool clock_synced = false;
    std::optional<double> clock_drift_ppm;
    MonotonicTime received;  // when the last sample had arrived
    MonotonicTime queued;
};

/// A window on its way to the classifier.
struct Window : WindowInfo {
    std::shared_ptr<const Model> model;  // that scores it
    std::vector<float> features;         // [mels, frames], normalised; empty: a mark that the stretch has ended

    bool ends_stretch() const { return features.empty(); }
};

}  // namespace chorus
