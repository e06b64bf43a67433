#include "trainer/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace chorus {
namespace {

double ratio(int part, int whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / whole;
}

/// Thresholds are looked for on an even grid of logits, since mixing makes scores small and close.
std::vector<double> candidate_logits() {
    constexpr double kLimit = 5.0;
    constexpr double kStep = 0.1;
    std::vector<double> logits;
    for (int i = 0; i <= static_cast<int>(2 * kLimit / kStep); ++i) logits.push_back(-kLimit + i * kStep);
    return logits;
}

float sigmoid(double logit) {
    return static_cast<float>(1.0 / (1.0 + std::exp(-logit)));
}

/// The best candidate; of an unbroken run of equally good ones, the middle: the most room on both sides.
std::size_t middle_of_best(std::span<const double> quality) {
    const auto best = std::max_element(quality.begin(), quality.end());
    const auto end = std::find_if(best, quality.end(), [&](double value) { return value != *best; });
    return static_cast<std::size_t>(best - quality.begin()) + static_cast<std::size_t>(end - best - 1) / 2;
}

}  // namespace

double precision(const Counts& counts) {
    return ratio(counts.true_positives, counts.true_positives + counts.false_positives);
}
double recall(const Counts& counts) {
    return ratio(counts.true_positives, counts.support());
}
double f1(const Counts& counts) {
    return ratio(2 * counts.true_positives,
                 2 * counts.true_positives + counts.false_positives + counts.false_negatives);
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

Thresholds choose_thresholds(const ScoreTable& held_out, double prior) {
    const auto logits = candidate_logits();
    std::vector<std::vector<double>> own_f1(held_out.classes);  // [class][candidate]
    std::vector<double> common_f1;
    std::vector<int> support(held_out.classes);
    for (const double logit : logits) {
        const auto counts = count_hits(held_out, std::vector(held_out.classes, sigmoid(logit)));
        for (std::size_t c = 0; c < held_out.classes; ++c) {
            own_f1[c].push_back(f1(counts[c]));
            support[c] = counts[c].support();
        }
        common_f1.push_back(macro_f1(counts, ClassSet::kWithPositives));
    }

    Thresholds thresholds{.values = std::vector(held_out.classes, 0.5F), .common = 0.5F};
    if (std::all_of(support.begin(), support.end(), [](int positives) { return positives == 0; })) return thresholds;
    const double common = logits[middle_of_best(common_f1)];
    thresholds.common = sigmoid(common);
    for (std::size_t c = 0; c < held_out.classes; ++c) {
        const double own = support[c] == 0 ? common : logits[middle_of_best(own_f1[c])];
        thresholds.values[c] = sigmoid((support[c] * own + prior * common) / (support[c] + prior));
    }
    return thresholds;
}

}  // namespace chorus
