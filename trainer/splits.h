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

/// The subset of a recording of which nothing else says it. A hash of its own: that of the name alone decides what is
/// held out.
Subset subset_by_name(std::string_view recording, double test_share);

/// What recordings that are much alike share, as far as a recording's name (without its ending) tells: site and date.
/// POND_20260101_050000 gives POND_20260101; a name without a time is its own session.
std::string session_of(std::string_view recording);

/// Rows of Dataset::clips.
struct Split {
    std::vector<std::size_t> training;
    std::vector<std::size_t> validation;
    std::vector<std::size_t> test;
};

Split split_by_recording(const Dataset& dataset, double held_out_share = kHeldOutShare);

}  // namespace chorus
