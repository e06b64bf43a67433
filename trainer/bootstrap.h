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

/// Two models on the same clips: F1 of the second less that of the first, in each resample that has positives.
struct F1Differences {
    std::vector<std::vector<double>> classes;  // [classes], empty for a class without positives
    std::vector<double> macro;                 // over the classes that a resample has positives of
};

/// Both models are held against the same draws, so that what makes a recording easy or hard cancels out. The tables
/// have the same rows, classes and targets.
F1Differences f1_differences(const ScoreTable& first, std::span<const float> first_thresholds, const ScoreTable& second,
                             std::span<const float> second_thresholds, std::span<const std::uint32_t> recordings,
                             int resamples, std::uint64_t seed = 1);

/// The middle 95 %; nothing of nothing.
std::optional<Interval> middle_of(std::vector<double> values);

}  // namespace chorus
