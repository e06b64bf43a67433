#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "trainer/dataset.h"

namespace chorus {

/// The share of training recordings that is never trained on: thresholds and the epoch are chosen on it.
inline constexpr double kHeldOutShare = 0.15;

/// Decided by the SHA-256 of the recording's name alone, so that a recording never changes sides, whatever arrives
/// later.
bool is_held_out(std::string_view recording, double share = kHeldOutShare);

/// Rows of Dataset::clips.
struct Split {
    std::vector<std::size_t> training;
    std::vector<std::size_t> validation;
    std::vector<std::size_t> test;
};

Split split_by_recording(const Dataset& dataset, double held_out_share = kHeldOutShare);

}  // namespace chorus
