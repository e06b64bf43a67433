#include "trainer/curves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace chorus {
namespace {

constexpr std::size_t kReliabilityBins = 10;
constexpr std::size_t kHistogramBins = 20;

std::size_t bin_of(float score, std::size_t bins) {
    const auto bin = static_cast<std::size_t>(std::clamp(score, 0.0F, 1.0F) * static_cast<float>(bins));
    return std::min(bin, bins - 1);
}

double logit(float score) {
    constexpr double kSmallest = 1e-7;
    const double p = std::clamp(static_cast<double>(score), kSmallest, 1.0 - kSmallest);
    return std::log(p / (1.0 - p));
}

}  // namespace

std::vector<std::pair<double, double>> precision_recall_curve(const ScoreTable& table, std::size_t class_index,
                                                              std::size_t most) {
    const auto at = [&](std::size_t row) { return row * table.classes + class_index; };
    std::vector<std::size_t> order(table.rows());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return table.scores[at(a)] > table.scores[at(b)]; });
    double positives = 0.0;
    for (const auto row : order) positives += table.targets[at(row)];
    std::vector<std::pair<double, double>> curve;
    if (positives == 0.0) return curve;
    double found = 0.0;
    double next = 0.0;  // recall from which on a point is told
    for (std::size_t i = 0; i < order.size(); ++i) {
        found += table.targets[at(order[i])];
        const bool ties = i + 1 < order.size() && table.scores[at(order[i + 1])] == table.scores[at(order[i])];
        const double recall = found / positives;
        if (ties || recall < next) continue;
        curve.emplace_back(recall, found / static_cast<double>(i + 1));
        next = recall + 1.0 / static_cast<double>(most);
        if (recall == 1.0) break;
    }
    return curve;
}

std::vector<ReliabilityBin> reliability(const ScoreTable& table) {
    std::vector<ReliabilityBin> bins(kReliabilityBins);
    for (std::size_t i = 0; i < table.scores.size(); ++i) {
        auto& bin = bins[bin_of(table.scores[i], kReliabilityBins)];
        ++bin.count;
        bin.mean_score += table.scores[i];
        bin.share_present += table.targets[i];
    }
    for (auto& bin : bins) {
        bin.mean_score /= static_cast<double>(std::max<std::size_t>(1, bin.count));
        bin.share_present /= static_cast<double>(std::max<std::size_t>(1, bin.count));
    }
    return bins;
}

ScoreHistogram score_histogram(const ScoreTable& table) {
    ScoreHistogram histogram{.present = std::vector<int>(kHistogramBins), .absent = std::vector<int>(kHistogramBins)};
    for (std::size_t i = 0; i < table.scores.size(); ++i)
        ++(table.targets[i] != 0 ? histogram.present : histogram.absent)[bin_of(table.scores[i], kHistogramBins)];
    return histogram;
}

std::vector<int> co_occurrence(const ScoreTable& table) {
    std::vector<int> counts(table.classes * table.classes);
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const auto targets = std::span(table.targets).subspan(row * table.classes, table.classes);
        for (std::size_t a = 0; a < table.classes; ++a)
            for (std::size_t b = 0; targets[a] != 0 && b < table.classes; ++b)
                counts[a * table.classes + b] += targets[b];
    }
    return counts;
}

std::vector<Mistake> worst_mistakes(const ScoreTable& table, std::span<const float> thresholds, std::size_t most,
                                    std::size_t most_of_class) {
    std::vector<std::pair<double, Mistake>> mistakes;
    for (std::size_t i = 0; i < table.scores.size(); ++i) {
        const auto class_index = i % table.classes;
        const float score = table.scores[i];
        const bool present = table.targets[i] != 0;
        if ((score >= thresholds[class_index]) == present) continue;
        mistakes.emplace_back(
            std::abs(logit(score) - logit(thresholds[class_index])),
            Mistake{.row = i / table.classes, .class_index = class_index, .score = score, .is_present = present});
    }
    std::stable_sort(mistakes.begin(), mistakes.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<Mistake> worst;
    std::vector<std::size_t> of_class(table.classes);
    for (const auto& [distance, mistake] : mistakes) {
        if (worst.size() == most) break;
        if (of_class[mistake.class_index]++ < most_of_class) worst.push_back(mistake);
    }
    return worst;
}

nlohmann::json curves_report(const ScoreTable& table, std::span<const std::string> codes) {
    nlohmann::json curves = nlohmann::json::object();
    for (std::size_t c = 0; c < table.classes; ++c) curves[codes[c]] = precision_recall_curve(table, c);
    nlohmann::json bins = nlohmann::json::array();
    for (const auto& bin : reliability(table))
        bins.push_back({{"count", bin.count}, {"mean_score", bin.mean_score}, {"share_present", bin.share_present}});
    const auto histogram = score_histogram(table);
    return {{"precision_over_recall", std::move(curves)},
            {"reliability", std::move(bins)},
            {"scores", {{"present", histogram.present}, {"absent", histogram.absent}}},
            {"co_occurrence", {{"codes", codes}, {"clips", co_occurrence(table)}}}};
}

}  // namespace chorus
