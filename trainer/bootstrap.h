#pragma once
// How far figures would move with other recordings of the same kind.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/evaluation.h"

namespace chorus {

/// Holds 95 % of what the resamples gave.
struct Interval {
    double low = 0.0;
    double high = 0.0;
};

struct ClassIntervals {
    Interval precision;
    Interval recall;
    Interval f1;
    Interval average_precision;
};

struct Intervals {
    std::vector<std::optional<ClassIntervals>> classes;  // nothing for a class without positives
    Interval macro_f1;                                   // over the classes that a resample has positives of
    Interval mean_average_precision;                     // the same
};

/// Percentile bootstrap: each resample draws as many recordings as there are, with repetition, and takes all clips of
/// each, since clips of a recording are much alike. recordings: [rows], which one a clip is of, numbered from 0.
/// Resamples without any positive of a class don't count for that class. Same seed: the same resamples.
Intervals bootstrap(const ScoreTable& table, std::span<const std::uint32_t> recordings,
                    std::span<const float> thresholds, int resamples, std::uint64_t seed = 1);

}  // namespace chorus
