#include "trainer/report.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "trainer/bootstrap.h"

namespace chorus {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLeftOutListed = 1000;

std::vector<Counts> learnable(std::span<const Counts> counts, std::span<const int> training_positives) {
    std::vector<Counts> kept;
    for (std::size_t c = 0; c < counts.size(); ++c)
        if (training_positives[c] > 0) kept.push_back(counts[c]);
    return kept;
}

json macro_report(std::span<const Counts> counts, std::span<const int> training_positives) {
    json report = {{"all_classes", macro_f1(counts, ClassSet::kAll)},
                   {"classes_with_positives", macro_f1(counts, ClassSet::kWithPositives)}};
    if (!training_positives.empty())
        report["learnable_classes"] = macro_f1(learnable(counts, training_positives), ClassSet::kWithPositives);
    return report;
}

/// How many classes each of macro_report's sets has.
json set_sizes(std::span<const Counts> counts, std::span<const int> training_positives) {
    const auto with_positives = [](std::span<const Counts> set) {
        return std::count_if(set.begin(), set.end(), [](const Counts& of_class) { return of_class.support() > 0; });
    };
    json sizes = {{"all_classes", counts.size()}, {"classes_with_positives", with_positives(counts)}};
    if (!training_positives.empty()) sizes["learnable_classes"] = with_positives(learnable(counts, training_positives));
    return sizes;
}

/// Classes without positives in the table are passed over: nothing can be said of them.
json group_report(const ScoreTable& table, std::span<const std::string> groups, std::span<const Counts> at_half,
                  std::span<const Counts> calibrated) {
    std::map<std::string, std::vector<std::size_t>> members;
    for (std::size_t c = 0; c < groups.size(); ++c)
        if (!groups[c].empty() && calibrated[c].support() > 0) members[groups[c]].push_back(c);
    json report = json::object();
    for (const auto& [group, classes] : members) {
        double f1_at_half = 0.0;
        double f1_calibrated = 0.0;
        double area = 0.0;
        for (const auto c : classes) {
            f1_at_half += f1(at_half[c]);
            f1_calibrated += f1(calibrated[c]);
            area += average_precision(table, c).value_or(0.0);
        }
        const auto count = static_cast<double>(classes.size());
        report[group] = {{"classes_with_positives", classes.size()},
                         {"macro_f1", {{"calibrated", f1_calibrated / count}, {"at_0.5", f1_at_half / count}}},
                         {"mean_average_precision", area / count}};
    }
    return report;
}

json pair_of(const Interval& interval) {
    return json::array({interval.low, interval.high});
}

void add_intervals(json& report, const ScoreTable& table, const EvaluationSubject& subject) {
    const auto calibrated = bootstrap(table, subject.recordings, subject.thresholds, subject.resamples);
    const auto at_half = bootstrap(table, subject.recordings, std::vector(table.classes, 0.5F), subject.resamples);
    report["macro_f1"]["calibrated"]["classes_with_positives_95"] = pair_of(calibrated.macro_f1);
    report["macro_f1"]["at_0.5"]["classes_with_positives_95"] = pair_of(at_half.macro_f1);
    report["mean_average_precision_95"] = pair_of(calibrated.mean_average_precision);
    for (std::size_t c = 0; c < table.classes; ++c) {
        const auto& of_class = calibrated.classes[c];
        if (!of_class) continue;
        auto& entry = report["classes"][c];
        entry["precision_95"] = pair_of(of_class->precision);
        entry["recall_95"] = pair_of(of_class->recall);
        entry["f1_95"] = pair_of(of_class->f1);
        entry["f1_at_0.5_95"] = pair_of(at_half.classes[c]->f1);
        entry["average_precision_95"] = pair_of(of_class->average_precision);
    }
}

}  // namespace

json evaluation_report(const ScoreTable& table, const EvaluationSubject& subject) {
    const auto at_half = count_hits(table, std::vector(table.classes, 0.5F));
    const auto calibrated = count_hits(table, subject.thresholds);
    json classes = json::array();
    for (std::size_t c = 0; c < table.classes; ++c) {
        json of_class = {{"code", subject.codes[c]},           {"support", calibrated[c].support()},
                         {"threshold", subject.thresholds[c]}, {"precision", precision(calibrated[c])},
                         {"recall", recall(calibrated[c])},    {"f1", f1(calibrated[c])},
                         {"f1_at_0.5", f1(at_half[c])},        {"average_precision", nullptr}};
        if (const auto area = average_precision(table, c)) of_class["average_precision"] = *area;
        if (!subject.training_positives.empty()) of_class["training_positives"] = subject.training_positives[c];
        if (!subject.groups.empty()) of_class["group"] = subject.groups[c];
        classes.push_back(std::move(of_class));
    }
    const std::set<std::uint32_t> recordings(subject.recordings.begin(), subject.recordings.end());
    json report = {{"clips", table.rows()},
                   {"recordings", recordings.size()},
                   {"class_sets", set_sizes(calibrated, subject.training_positives)},
                   {"macro_f1",
                    {{"calibrated", macro_report(calibrated, subject.training_positives)},
                     {"at_0.5", macro_report(at_half, subject.training_positives)}}},
                   {"mean_average_precision", mean_average_precision(table)},
                   {"groups", group_report(table, subject.groups, at_half, calibrated)},
                   {"classes", std::move(classes)}};
    if (subject.resamples > 0) add_intervals(report, table, subject);
    return report;
}

std::vector<int> training_positives_in(std::string_view metrics, std::size_t labels) {
    const auto known = json::parse(metrics, nullptr, false);
    if (!known.is_object() || !known.contains("training_positives")) return {};
    std::vector<int> positives;
    for (const auto& value : known["training_positives"]) {
        if (!value.is_number_integer()) return {};
        positives.push_back(value.get<int>());
    }
    return positives.size() == labels ? positives : std::vector<int>{};
}

json left_out_report(std::span<const LeftOut> left_out) {
    json items = json::array();
    for (const auto& [item, reason] : left_out.first(std::min(left_out.size(), kMaxLeftOutListed)))
        items.push_back({{"item", item}, {"reason", reason}});
    return {{"count", left_out.size()}, {"items", std::move(items)}};
}

}  // namespace chorus
