#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/front_end.h"
#include "trainer/dataset.h"

namespace chorus {

/// Log-mel features of many clips in memory, normalised a window at a time, as half precision (2 bytes a value: half
/// the memory at 0.05 dB). Const after construction and shared by any number of threads.
class FeatureStore {
  public:
    FeatureStore(int mels, int frames, std::size_t rows);

    int mels() const { return mels_; }
    int frames() const { return frames_; }
    std::size_t size() const { return rows_; }

    /// features: [mels, frames].
    void set(std::size_t row, std::span<const float> features);
    void get(std::size_t row, std::span<float> features) const;

    /// Keeps the rows given, in ascending order.
    void keep(std::span<const std::size_t> rows);

  private:
    std::size_t row_size() const { return static_cast<std::size_t>(mels_) * static_cast<std::size_t>(frames_); }

    int mels_;
    int frames_;
    std::size_t rows_;
    std::vector<std::uint16_t> values_;  // IEEE half, [rows, mels, frames]
};

using OnFeatureProgress = std::function<void(std::size_t done, std::size_t of)>;

/// Row i belongs to dataset.clips[i]. Clips whose sound can't be read, is silent, or is shorter or longer than the
/// window move to dataset.left_out. Windows of a recording that follow one another are read and resampled in one go.
/// `on_progress` is called by the calling thread alone. Throws std::runtime_error when no clip is left.
FeatureStore compute_features(const FrontEnd& front_end, Dataset& dataset, int threads,
                              const OnFeatureProgress& on_progress = {});

}  // namespace chorus
