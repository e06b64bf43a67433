#include "trainer/evaluation.h"

#include <algorithm>
#include <numeric>

namespace chorus {
namespace {

double ratio(int part, int whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / whole;
}

}  // namespace

ScoreTable keep_classes(const ScoreTable& table, std::span<const std::size_t> classes) {
    ScoreTable kept{.classes = classes.size(), .scores = {}, .targets = {}};
    for (std::size_t at = 0; at < table.scores.size(); at += table.classes) {
        for (const auto index : classes) {
            kept.scores.push_back(table.scores[at + index]);
            kept.targets.push_back(table.targets[at + index]);
        }
    }
    return kept;
}

double precision(const Counts& counts) {
    return ratio(counts.true_positives, counts.true_positives + counts.false_positives);
}
double recall(const Counts& counts) {
    return ratio(counts.true_positives, counts.support());
}
double f1(const Counts& counts) {
    return f_beta(counts, 1.0);
}
double f_beta(const Counts& counts, double beta) {
    const double weight = beta * beta;
    const double found = (1.0 + weight) * counts.true_positives;
    const double missed = weight * counts.false_negatives + counts.false_positives;
    return found == 0.0 ? 0.0 : found / (found + missed);
}

std::vector<Counts> count_hits(const ScoreTable& table, std::span<const float> thresholds) {
    std::vector<Counts> counts(table.classes);
    for (std::size_t i = 0; i < table.scores.size(); ++i) {
        auto& of_class = counts[i % table.classes];
        const bool hit = table.scores[i] >= thresholds[i % table.classes];
        const bool present = table.targets[i] != 0;
        of_class.true_positives += hit && present;
        of_class.false_positives += hit && !present;
        of_class.false_negatives += !hit && present;
    }
    return counts;
}

double macro_f1(std::span<const Counts> counts, ClassSet set) {
    double sum = 0.0;
    int classes = 0;
    for (const auto& of_class : counts) {
        if (set == ClassSet::kWithPositives && of_class.support() == 0) continue;
        sum += f1(of_class);
        ++classes;
    }
    return classes == 0 ? 0.0 : sum / classes;
}

std::optional<double> average_precision(const ScoreTable& table, std::size_t class_index) {
    const auto rows = table.rows();
    const auto at = [&](std::size_t row) { return row * table.classes + class_index; };
    std::vector<std::size_t> order(rows);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return table.scores[at(a)] > table.scores[at(b)]; });

    int hits = 0;
    int true_hits = 0;
    int counted = 0;
    double area = 0.0;
    for (std::size_t i = 0; i < rows; ++i) {
        ++hits;
        true_hits += table.targets[at(order[i])];
        // Equal scores are told apart by no threshold, so they make one step.
        if (i + 1 < rows && table.scores[at(order[i + 1])] == table.scores[at(order[i])]) continue;
        area += (true_hits - counted) * ratio(true_hits, hits);
        counted = true_hits;
    }
    if (true_hits == 0) return std::nullopt;
    return area / true_hits;
}

double mean_average_precision(const ScoreTable& table) {
    double sum = 0.0;
    int classes = 0;
    for (std::size_t c = 0; c < table.classes; ++c) {
        if (const auto area = average_precision(table, c)) {
            sum += *area;
            ++classes;
        }
    }
    return classes == 0 ? 0.0 : sum / classes;
}

}  // namespace chorus
