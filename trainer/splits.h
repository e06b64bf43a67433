#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "trainer/dataset.h"

namespace chorus {

/// The share of training recordings that is never trained on: thresholds and the epoch are chosen on it.
inline constexpr double kHeldOutShare = 0.15;

/// Decided by the SHA-256 of the recording's name alone, so that a recording never changes sides, whatever arrives
/// later or is labelled anew: a model that was chosen on recordings once must never be trained on them. That rules out
/// stratifying by class. A rule that evens out the classes' shares has to put a recording where others leave a class
/// short, so that a new or relabelled recording moves others; one that looks at a recording alone draws each for
/// itself, as the hash does. The share of a class that is held out is therefore right on average, with the spread of a
/// binomial distribution over the recordings that hold it: of 20 recordings, none are held out in 1 of 26 cases.
bool is_held_out(std::string_view recording, double share = kHeldOutShare);

/// Rows of Dataset::clips.
struct Split {
    std::vector<std::size_t> training;
    std::vector<std::size_t> validation;
    std::vector<std::size_t> test;
};

Split split_by_recording(const Dataset& dataset, double held_out_share = kHeldOutShare);

}  // namespace chorus
