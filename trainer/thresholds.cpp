#include "trainer/thresholds.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace chorus {
namespace {

constexpr double kStep = 0.1;  // of logits

/// Thresholds are looked for on an even grid of logits, since mixing makes scores small and close.
std::vector<double> candidate_logits() {
    constexpr double kLimit = 7.0;
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

/// Each value's mean with its neighbours, by a Gaussian over the grid: with few positives a single best threshold is a
/// matter of luck, a stretch of good ones less so.
std::vector<double> smooth(std::span<const double> quality) {
    constexpr double kWidth = 0.5 / kStep;
    std::vector<double> smoothed;
    for (std::size_t at = 0; at < quality.size(); ++at) {
        double sum = 0.0;
        double weights = 0.0;
        for (std::size_t i = 0; i < quality.size(); ++i) {
            const double away = (static_cast<double>(i) - static_cast<double>(at)) / kWidth;
            const double weight = std::exp(-0.5 * away * away);
            sum += weight * quality[i];
            weights += weight;
        }
        smoothed.push_back(sum / weights);
    }
    return smoothed;
}

/// What a threshold with these counts is worth: by kPrecision below 0 where the wanted precision isn't reached.
double quality_of(const Counts& counts, const ThresholdOptions& options) {
    if (options.rule == ThresholdRule::kFBeta) return f_beta(counts, options.beta);
    const double reached = precision(counts);
    return reached >= options.precision ? recall(counts) : reached - 1.0;
}

double quality_of_all(std::span<const Counts> counts, const ThresholdOptions& options) {
    Counts together;
    double sum = 0.0;
    int classes = 0;
    for (const auto& of_class : counts) {
        if (of_class.support() == 0) continue;
        together.true_positives += of_class.true_positives;
        together.false_positives += of_class.false_positives;
        together.false_negatives += of_class.false_negatives;
        sum += quality_of(of_class, options);
        ++classes;
    }
    return options.rule == ThresholdRule::kFBeta ? sum / std::max(1, classes) : quality_of(together, options);
}

}  // namespace

std::string to_string(ThresholdRule rule) {
    return rule == ThresholdRule::kPrecision ? "precision" : "f-beta";
}

Thresholds choose_thresholds(const ScoreTable& held_out, const ThresholdOptions& options) {
    const auto logits = candidate_logits();
    Thresholds thresholds{.values = std::vector(held_out.classes, 0.5F),
                          .common = 0.5F,
                          .own = std::vector(held_out.classes, 0.5F),
                          .positives = std::vector(held_out.classes, 0)};
    std::vector<std::vector<double>> own_quality(held_out.classes);  // [class][candidate]
    std::vector<double> common_quality;
    for (const double logit : logits) {
        const auto counts = count_hits(held_out, std::vector(held_out.classes, sigmoid(logit)));
        for (std::size_t c = 0; c < held_out.classes; ++c) {
            own_quality[c].push_back(quality_of(counts[c], options));
            thresholds.positives[c] = counts[c].support();
        }
        common_quality.push_back(quality_of_all(counts, options));
    }

    const auto best_of = [&](std::span<const double> quality) {
        // A wanted precision is reached or not: nothing lies between.
        const bool is_smooth = options.rule == ThresholdRule::kFBeta;
        return logits[is_smooth ? middle_of_best(smooth(quality)) : middle_of_best(quality)];
    };
    const auto has_none = [](int positives) { return positives == 0; };
    if (std::all_of(thresholds.positives.begin(), thresholds.positives.end(), has_none)) return thresholds;
    const double common = best_of(common_quality);
    thresholds.common = sigmoid(common);
    for (std::size_t c = 0; c < held_out.classes; ++c) {
        const int positives = thresholds.positives[c];
        const double own = positives == 0 ? common : best_of(own_quality[c]);
        const double prior = options.prior_positives;
        thresholds.own[c] = sigmoid(own);
        thresholds.values[c] =
            sigmoid(positives == 0 ? common : (positives * own + prior * common) / (positives + prior));
    }
    return thresholds;
}

nlohmann::json describe(const Thresholds& thresholds, const ThresholdOptions& options) {
    nlohmann::json rule = {{"rule", to_string(options.rule)},
                           {"common", thresholds.common},
                           {"prior_positives", options.prior_positives},
                           {"own", thresholds.own},
                           {"held_out_positives", thresholds.positives}};
    if (options.rule == ThresholdRule::kFBeta)
        rule["beta"] = options.beta;
    else
        rule["precision"] = options.precision;
    return rule;
}

}  // namespace chorus
