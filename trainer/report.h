#pragma once
// Machine-readable results: what a verb prints and what a bundle remembers.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/dataset.h"
#include "trainer/evaluation.h"

namespace chorus {

/// What an evaluation is of, beside scores.
struct EvaluationSubject {
    std::span<const std::string> codes;
    std::span<const float> thresholds;             // [classes]
    std::span<const int> training_positives = {};  // [classes], or empty when not known
    std::span<const std::string> groups = {};      // [classes], each may be empty; or empty when not known
    std::span<const std::uint32_t> recordings;     // [rows], numbered from 0
    int resamples = 1000;                          // of the intervals over recordings; 0: none
};

/// F1 at 0.5 and at the thresholds given, over all classes, over those with positives in `table`, over those that have
/// training positives as well, and over each group's with positives; average precision; and each class for itself.
/// Keys that end in "_95" hold the intervals [low, high] of bootstrap.h.
nlohmann::json evaluation_report(const ScoreTable& table, const EvaluationSubject& subject);

/// Each label's positives in training, as far as a bundle's metrics say so; else empty.
std::vector<int> training_positives_in(std::string_view metrics, std::size_t labels);

/// Count, and at most 1000 of them with their reasons.
nlohmann::json left_out_report(std::span<const LeftOut> left_out);

}  // namespace chorus
