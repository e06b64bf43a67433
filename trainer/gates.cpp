#include "trainer/gates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

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

std::string change_of(const MacroComparison& macro) {
    return fmt::format("{:.3f} -> {:.3f}", macro.current_f1, macro.candidate_f1);
}

/// Those that the candidate was seen to find: a code alone is no gain.
std::vector<std::string> new_classes(const Comparison& comparison) {
    std::vector<std::string> codes;
    for (const auto& of_class : comparison.classes)
        if (of_class.is_new && of_class.positives > 0 && of_class.candidate_f1 > 0.0) codes.push_back(of_class.code);
    return codes;
}

void judge_fall(const std::string& what, const MacroComparison& macro, const GateOptions& options,
                std::vector<std::string>& faults) {
    if (macro.fall_share > options.certainty)
        faults.push_back(fall(what, macro.current_f1, macro.candidate_f1, macro.fall_share, options));
}

void judge_macro_f1(const Comparison& comparison, const GateOptions& options, std::vector<std::string>& faults) {
    const auto& macro = comparison.macro;
    if (macro.candidate_f1 > macro.current_f1) return;
    if (new_classes(comparison).empty())
        faults.push_back(fmt::format("macro F1 does not rise: {}", change_of(macro)));
    else
        judge_fall("macro", macro, options, faults);
}

/// What new classes add to the macro F1 of all must not hide what the others lose.
void judge_known_classes(const MacroComparison& macro, const GateOptions& options, std::vector<std::string>& faults) {
    if (macro.current_f1 - macro.candidate_f1 > options.margin)
        faults.push_back(
            fmt::format("macro F1 of the known classes: {}, by more than {:g}", change_of(macro), options.margin));
    else
        judge_fall("macro of the known classes", macro, options, faults);
}

/// prefix: of their codes, in faults.
void judge_classes(std::span<const ClassComparison> classes, const std::string& prefix, const GateOptions& options,
                   std::vector<std::string>& faults) {
    for (const auto& of_class : classes)
        if (!of_class.is_new && of_class.positives >= options.min_positives && of_class.fall_share > options.certainty)
            faults.push_back(
                fall(prefix + of_class.code, of_class.current_f1, of_class.candidate_f1, of_class.fall_share, options));
}

void judge_by_earlier_labels(const EarlierComparison& earlier, const GateOptions& options,
                             std::vector<std::string>& faults) {
    const std::string prefix = "by the labels of the last decision, ";
    judge_fall(prefix + "macro", earlier.macro, options, faults);
    judge_classes(earlier.classes, prefix, options, faults);
}

void judge_noise(const NoiseComparison& noise, const GateOptions& options, std::vector<std::string>& faults) {
    const double allowed =
        std::max(std::ceil(options.noise_limit * noise.hours), options.noise_rise * noise.current_events);
    if (noise.candidate_events <= allowed) return;
    faults.push_back(fmt::format("false events in {:.2f} h of noise: {} -> {}, {:g} are put up with", noise.hours,
                                 noise.current_events, noise.candidate_events, std::floor(allowed)));
}

nlohmann::json pair_of(const std::optional<Interval>& interval) {
    return interval ? nlohmann::json({interval->low, interval->high}) : nlohmann::json();
}

nlohmann::json describe(const MacroComparison& macro) {
    return {{"macro_f1", {{"current", macro.current_f1}, {"candidate", macro.candidate_f1}}},
            {"macro_difference_95", pair_of(macro.difference)},
            {"macro_fall_share", macro.fall_share}};
}

nlohmann::json describe(std::span<const ClassComparison> classes) {
    auto all = nlohmann::json::array();
    for (const auto& of_class : classes)
        all.push_back({{"code", of_class.code},
                       {"positives", of_class.positives},
                       {"new", of_class.is_new},
                       {"f1", {{"current", of_class.current_f1}, {"candidate", of_class.candidate_f1}}},
                       {"difference_95", pair_of(of_class.difference)},
                       {"fall_share", of_class.fall_share}});
    return all;
}

/// Over the first `known` classes alone.
MacroComparison compare_known(const GatedModel& current, const GatedModel& candidate, std::size_t known,
                              std::span<const std::uint32_t> recordings, const GateOptions& options) {
    std::vector<std::size_t> classes(known);
    std::iota(classes.begin(), classes.end(), std::size_t{0});
    const std::vector<std::string> codes(known);
    return compare_models(keep_classes(current, classes), keep_classes(candidate, classes), codes, known, recordings,
                          options)
        .macro;
}

}  // namespace

GatedModel keep_classes(const GatedModel& model, std::span<const std::size_t> classes) {
    return {.table = keep_classes(model.table, classes), .thresholds = pick(model.thresholds, classes)};
}

Comparison compare_models(const GatedModel& current, const GatedModel& candidate, std::span<const std::string> codes,
                          std::size_t known, std::span<const std::uint32_t> recordings, const GateOptions& options) {
    const auto before = count_hits(current.table, current.thresholds);
    const auto after = count_hits(candidate.table, candidate.thresholds);
    const auto differences = f1_differences(current.table, current.thresholds, candidate.table, candidate.thresholds,
                                            recordings, kResamples);
    Comparison comparison{.classes = {},
                          .macro = {.current_f1 = macro_f1(before, ClassSet::kWithPositives),
                                    .candidate_f1 = macro_f1(after, ClassSet::kWithPositives),
                                    .difference = middle_of(differences.macro),
                                    .fall_share = share_below(differences.macro, -options.margin)}};
    for (std::size_t c = 0; c < codes.size(); ++c)
        comparison.classes.push_back({.code = codes[c],
                                      .positives = before[c].support(),
                                      .is_new = c >= known,
                                      .current_f1 = f1(before[c]),
                                      .candidate_f1 = f1(after[c]),
                                      .difference = middle_of(differences.classes[c]),
                                      .fall_share = share_below(differences.classes[c], -options.margin)});
    if (0 < known && known < codes.size())
        comparison.known_classes = compare_known(current, candidate, known, recordings, options);
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
    if (comparison.known_classes) judge_known_classes(*comparison.known_classes, options, reasons);
    judge_classes(comparison.classes, "", options, reasons);
    if (comparison.earlier) judge_by_earlier_labels(*comparison.earlier, options, reasons);
    judge_noise(comparison.noise, options, reasons);
    decision.promote = reasons.empty();
    if (!decision.promote) return decision;
    reasons.push_back(fmt::format("macro F1 {}", change_of(comparison.macro)));
    if (const auto codes = new_classes(comparison); !codes.empty())
        reasons.push_back(fmt::format("new classes: {}", fmt::join(codes, ", ")));
    if (!comparison.not_judged.empty())
        reasons.push_back(
            fmt::format("not judged, as no held-out clip holds them: {}", fmt::join(comparison.not_judged, ", ")));
    if (comparison.noise.hours == 0.0) reasons.emplace_back("no noise to count false events in");
    return decision;
}

nlohmann::json describe(const Comparison& comparison) {
    auto numbers = describe(comparison.macro);
    numbers["classes"] = describe(comparison.classes);
    numbers["known_classes"] = nullptr;
    if (comparison.known_classes) numbers["known_classes"] = describe(*comparison.known_classes);
    numbers["by_earlier_labels"] = nullptr;
    if (const auto& earlier = comparison.earlier) {
        numbers["by_earlier_labels"] = describe(earlier->macro);
        numbers["by_earlier_labels"]["classes"] = describe(earlier->classes);
    }
    numbers["not_judged"] = comparison.not_judged;
    const auto& noise = comparison.noise;
    numbers["noise"] = {{"hours", noise.hours},
                        {"events", {{"current", noise.current_events}, {"candidate", noise.candidate_events}}}};
    return numbers;
}

}  // namespace chorus
