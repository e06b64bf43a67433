#pragma once
// The figures behind a report's pictures.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/evaluation.h"

namespace chorus {

/// Precision over recall, from the highest score down, at most `most` points. Empty for a class without positives.
std::vector<std::pair<double, double>> precision_recall_curve(const ScoreTable& table, std::size_t class_index,
                                                              std::size_t most = 100);

/// Scores of all classes in ten bins of equal width.
struct ReliabilityBin {
    std::size_t count = 0;
    double mean_score = 0.0;
    double share_present = 0.0;  // a well calibrated score is as high as this
};
std::vector<ReliabilityBin> reliability(const ScoreTable& table);

/// How many clips' scores lie in each of 20 bins of equal width in 0..1, by whether the class is present.
struct ScoreHistogram {
    std::vector<int> present;
    std::vector<int> absent;
};
ScoreHistogram score_histogram(const ScoreTable& table);

/// [classes, classes]: clips that hold both.
std::vector<int> co_occurrence(const ScoreTable& table);

struct Mistake {
    std::size_t row = 0;
    std::size_t class_index = 0;
    float score = 0.0F;
    bool is_present = false;  // and was missed; else it was found where it is not
};

/// Those furthest from their class's threshold on the logit scale, worst first, at most so many in all and of a class.
std::vector<Mistake> worst_mistakes(const ScoreTable& table, std::span<const float> thresholds, std::size_t most = 24,
                                    std::size_t most_of_class = 4);

/// All of the above but the mistakes.
nlohmann::json curves_report(const ScoreTable& table, std::span<const std::string> codes);

}  // namespace chorus
