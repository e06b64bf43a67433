#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace chorus {

/// Features as IEEE halves (2 bytes a value: half the memory at 0.05 dB), rounded to nearest even.
std::vector<std::uint16_t> to_halves(std::span<const float> features);

/// Log-mel features of many clips, normalised a window at a time, as halves in memory or mapped from a file. Const once
/// all rows are added, and then shared by any number of threads.
class FeatureStore {
  public:
    FeatureStore(int mels, int frames) : mels_(mels), frames_(frames) {}

    int mels() const { return mels_; }
    int frames() const { return frames_; }
    std::size_t size() const { return rows_.size(); }
    std::size_t row_size() const { return static_cast<std::size_t>(mels_) * static_cast<std::size_t>(frames_); }

    /// row: [mels, frames].
    void add(std::shared_ptr<const std::uint16_t> row) { rows_.push_back(std::move(row)); }
    void get(std::size_t row, std::span<float> features) const;

  private:
    int mels_;
    int frames_;
    std::vector<std::shared_ptr<const std::uint16_t>> rows_;  // each owns all that was made in one go with it
};

/// Of windows of one recording that were made in one go.
struct RunFeatures {
    std::vector<std::string> left_out;          // why a window has no row; empty where it has
    std::shared_ptr<const std::uint16_t> rows;  // [windows that have one, mels, frames]

    std::size_t row_count() const;
};

}  // namespace chorus
