#pragma once
// Machine-readable results: what a verb prints and what a bundle remembers.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "trainer/dataset.h"
#include "trainer/evaluation.h"

namespace chorus {

/// F1 at 0.5 and at the thresholds given, over all classes, over those with positives in `table` and over those that
/// have training positives as well; average precision; and each class for itself. training_positives: [classes], or
/// empty when not known.
nlohmann::json evaluation_report(const ScoreTable& table, std::span<const std::string> codes,
                                 std::span<const float> thresholds, std::span<const int> training_positives);

/// Count, and at most 1000 of them with their reasons.
nlohmann::json left_out_report(std::span<const LeftOut> left_out);

}  // namespace chorus
