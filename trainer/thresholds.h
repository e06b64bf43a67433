#pragma once
// From where on a score counts as a hit, chosen class by class on recordings that were not trained on.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainer/evaluation.h"

namespace chorus {

enum class ThresholdRule {
    kFBeta,      // the best F-beta
    kPrecision,  // the most recall with at least this precision; where none has it, the best precision
};

struct ThresholdOptions {
    ThresholdRule rule = ThresholdRule::kFBeta;
    double beta = 1.0;              // recall weighs beta times as much as precision
    double precision = 0.9;         // wanted by kPrecision
    double prior_positives = 10.0;  // a class with as many goes half way from the common threshold to its own

    bool operator==(const ThresholdOptions&) const = default;
};

std::string to_string(ThresholdRule rule);  // "f-beta", "precision"

struct Thresholds {
    std::vector<float> values;   // [classes]
    float common = 0.5F;         // the best one if all classes share it
    std::vector<float> own;      // [classes], before it was drawn to the common one
    std::vector<int> positives;  // [classes], what each was chosen on
};

/// A class's own threshold follows the rule, F-beta smoothed by a Gaussian of 0.5 over the logits; few positives make
/// it a matter of luck, so on the logit scale it is drawn to the common one, which gives the best mean F-beta, or by
/// kPrecision follows the rule for all classes' hits taken together: (n own + prior common) / (n + prior), n being the
/// class's positives. Without positives it is the common one; with none in any class all are 0.5.
Thresholds choose_thresholds(const ScoreTable& held_out, const ThresholdOptions& options = {});

/// The rule, its parameters and its counts, for the bundle.
nlohmann::json describe(const Thresholds& thresholds, const ThresholdOptions& options);

}  // namespace chorus
