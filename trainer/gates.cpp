#include "trainer/gates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace chorus {
namespace {

constexpr int kResamples = 1000;

double share_below(const std::vector<double>& differences, double limit) {
    if (differences.empty()) return 0.0;
    const auto below = std::count_if(differences.begin(), differences.end(), [&](double d) { return d < limit; });
    return static_cast<double>(below) / static_cast<double>(differences.size());
}

std::string fall(const std::string& what, double from, double to, double share, const GateOptions& options) {
    return fmt::format("{}: F1 {:.3f} -> {:.3f}, by more than {:g} in {:.0f} % of the resamples", what, from, to,
                       options.margin, 100.0 * share);
}

std::string change_of_macro_f1(const Comparison& comparison) {
    return fmt::format("{:.3f} -> {:.3f}", comparison.current_macro_f1, comparison.candidate_macro_f1);
}

std::vector<std::string> new_classes(const Comparison& comparison) {
    std::vector<std::string> codes;
    for (const auto& of_class : comparison.classes)
        if (of_class.is_new) codes.push_back(of_class.code);
    return codes;
}

void judge_macro_f1(const Comparison& comparison, const GateOptions& options, std::vector<std::string>& faults) {
    if (comparison.candidate_macro_f1 > comparison.current_macro_f1) return;
    if (new_classes(comparison).empty())
        faults.push_back(fmt::format("macro F1 does not rise: {}", change_of_macro_f1(comparison)));
    else if (comparison.macro_fall_share > options.certainty)
        faults.push_back(fall("macro", comparison.current_macro_f1, comparison.candidate_macro_f1,
                              comparison.macro_fall_share, options));
}

void judge_classes(const Comparison& comparison, const GateOptions& options, std::vector<std::string>& faults) {
    for (const auto& of_class : comparison.classes)
        if (!of_class.is_new && of_class.positives >= options.min_positives && of_class.fall_share > options.certainty)
            faults.push_back(
                fall(of_class.code, of_class.current_f1, of_class.candidate_f1, of_class.fall_share, options));
}

void judge_noise(const NoiseComparison& noise, const GateOptions& options, std::vector<std::string>& faults) {
    const double allowed =
        std::max(std::ceil(options.noise_limit * noise.hours), options.noise_rise * noise.current_events);
    if (noise.candidate_events <= allowed) return;
    faults.push_back(fmt::format("false events in {:.2f} h of noise: {} -> {}, {:g} are put up with", noise.hours,
                                 noise.current_events, noise.candidate_events, std::floor(allowed)));
}

}  // namespace

Comparison compare_models(const GatedModel& current, const GatedModel& candidate, std::span<const std::string> codes,
                          std::size_t known, std::span<const std::uint32_t> recordings, const GateOptions& options) {
    const auto before = count_hits(current.table, current.thresholds);
    const auto after = count_hits(candidate.table, candidate.thresholds);
    const auto differences = f1_differences(current.table, current.thresholds, candidate.table, candidate.thresholds,
                                            recordings, kResamples);
    Comparison comparison{.classes = {},
                          .current_macro_f1 = macro_f1(before, ClassSet::kWithPositives),
                          .candidate_macro_f1 = macro_f1(after, ClassSet::kWithPositives),
                          .macro_difference = middle_of(differences.macro),
                          .macro_fall_share = share_below(differences.macro, -options.margin)};
    for (std::size_t c = 0; c < codes.size(); ++c)
        comparison.classes.push_back({.code = codes[c],
                                      .positives = before[c].support(),
                                      .is_new = c >= known,
                                      .current_f1 = f1(before[c]),
                                      .candidate_f1 = f1(after[c]),
                                      .difference = middle_of(differences.classes[c]),
                                      .fall_share = share_below(differences.classes[c], -options.margin)});
    return comparison;
}

GateDecision decide(const Comparison& comparison, const GateOptions& options) {
    GateDecision decision;
    auto& reasons = decision.reasons;
    const auto has_positives = [](const ClassComparison& of_class) { return of_class.positives > 0; };
    if (std::none_of(comparison.classes.begin(), comparison.classes.end(), has_positives)) {
        reasons.emplace_back("no held-out clip holds a class: there is nothing to judge by");
        return decision;
    }
    judge_macro_f1(comparison, options, reasons);
    judge_classes(comparison, options, reasons);
    judge_noise(comparison.noise, options, reasons);
    decision.promote = reasons.empty();
    if (!decision.promote) return decision;
    reasons.push_back(fmt::format("macro F1 {}", change_of_macro_f1(comparison)));
    if (const auto codes = new_classes(comparison); !codes.empty())
        reasons.push_back(fmt::format("new classes: {}", fmt::join(codes, ", ")));
    if (comparison.noise.hours == 0.0) reasons.emplace_back("no noise to count false events in");
    return decision;
}

nlohmann::json describe(const Comparison& comparison) {
    const auto pair_of = [](const std::optional<Interval>& interval) {
        return interval ? nlohmann::json({interval->low, interval->high}) : nlohmann::json();
    };
    auto classes = nlohmann::json::array();
    for (const auto& of_class : comparison.classes)
        classes.push_back({{"code", of_class.code},
                           {"positives", of_class.positives},
                           {"new", of_class.is_new},
                           {"f1", {{"current", of_class.current_f1}, {"candidate", of_class.candidate_f1}}},
                           {"difference_95", pair_of(of_class.difference)},
                           {"fall_share", of_class.fall_share}});
    const auto& noise = comparison.noise;
    return {{"macro_f1", {{"current", comparison.current_macro_f1}, {"candidate", comparison.candidate_macro_f1}}},
            {"macro_difference_95", pair_of(comparison.macro_difference)},
            {"macro_fall_share", comparison.macro_fall_share},
            {"noise",
             {{"hours", noise.hours},
              {"events", {{"current", noise.current_events}, {"candidate", noise.candidate_events}}}}},
            {"classes", std::move(classes)}};
}

}  // namespace chorus
