#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/front_end.h"

namespace chorus {

/// Features as IEEE halves (2 bytes a value: half the memory at 0.05 dB), rounded to nearest even.
std::vector<std::uint16_t> to_halves(std::span<const float> features);

/// Log-mel features of many clips, normalised a window at a time, as halves in memory or mapped from a file. Const once
/// all rows are added, and then shared by any number of threads.
class FeatureStore {
  public:
    explicit FeatureStore(const FrontEndParameters& front_end) : front_end_(front_end) {}

    const FrontEndParameters& front_end() const { return front_end_; }
    int mels() const { return front_end_.mels; }
    int frames() const { return front_end_.frames(); }
    std::size_t size() const { return rows_.size(); }

    /// row: [mels, frames].
    void add(std::shared_ptr<const std::uint16_t> row, WindowScale scale) { rows_.push_back({std::move(row), scale}); }
    void get(std::size_t row, std::span<float> features) const;
    WindowScale scale(std::size_t row) const { return rows_[row].scale; }

  private:
    struct Row {
        std::shared_ptr<const std::uint16_t> features;  // owns all that was made in one go with it
        WindowScale scale;
    };
    FrontEndParameters front_end_;
    std::vector<Row> rows_;
};

/// Of windows of one recording that were made in one go.
struct RunFeatures {
    std::vector<std::string> left_out;          // why a window has no row; empty where it has
    std::vector<WindowScale> scales;            // [windows that have a row]
    std::shared_ptr<const std::uint16_t> rows;  // [windows that have one, mels, frames]
};

}  // namespace chorus
