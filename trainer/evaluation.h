#pragma once
// How good scores are. No network in here.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace chorus {

/// What a model said of n clips and what is true: both [n, classes], row-major.
struct ScoreTable {
    std::size_t classes = 0;
    std::vector<float> scores;
    std::vector<std::uint8_t> targets;  // 0 or 1

    std::size_t rows() const { return classes == 0 ? 0 : targets.size() / classes; }
};

/// Those of `values` at these places.
template <typename Value>
std::vector<Value> pick(const std::vector<Value>& values, std::span<const std::size_t> places) {
    std::vector<Value> picked;
    for (const auto place : places) picked.push_back(values[place]);
    return picked;
}

/// Of some classes alone.
ScoreTable keep_classes(const ScoreTable& table, std::span<const std::size_t> classes);

struct Counts {
    int true_positives = 0;
    int false_positives = 0;
    int false_negatives = 0;

    int support() const { return true_positives + false_negatives; }
};

/// 0/0 is 0.
double precision(const Counts& counts);
double recall(const Counts& counts);
double f1(const Counts& counts);
/// Recall weighs beta times as much as precision.
double f_beta(const Counts& counts, double beta);

/// A score at or above its class's threshold is a hit. thresholds: [classes].
std::vector<Counts> count_hits(const ScoreTable& table, std::span<const float> thresholds);

enum class ClassSet { kAll, kWithPositives };
/// Unweighted mean of F1; 0 where the set is empty.
double macro_f1(std::span<const Counts> counts, ClassSet set);

/// Area under the precision-recall steps, sum (R_n - R_{n-1}) P_n over distinct scores: scikit-learn's
/// average_precision_score. Nothing for a class without positives.
std::optional<double> average_precision(const ScoreTable& table, std::size_t class_index);
/// Over the classes with positives; 0 if there are none.
double mean_average_precision(const ScoreTable& table);

}  // namespace chorus
