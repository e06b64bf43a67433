#include "trainer/report.h"

#include <nlohmann/json.hpp>

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

}  // namespace

json evaluation_report(const ScoreTable& table, std::span<const std::string> codes, std::span<const float> thresholds,
                       std::span<const int> training_positives) {
    const auto at_half = count_hits(table, std::vector(table.classes, 0.5F));
    const auto calibrated = count_hits(table, thresholds);
    json classes = json::array();
    int with_positives = 0;
    for (std::size_t c = 0; c < table.classes; ++c) {
        json of_class = {{"code", codes[c]},
                         {"support", calibrated[c].support()},
                         {"threshold", thresholds[c]},
                         {"precision", precision(calibrated[c])},
                         {"recall", recall(calibrated[c])},
                         {"f1", f1(calibrated[c])},
                         {"f1_at_0.5", f1(at_half[c])},
                         {"average_precision", nullptr}};
        if (const auto area = average_precision(table, c)) of_class["average_precision"] = *area;
        if (!training_positives.empty()) of_class["training_positives"] = training_positives[c];
        classes.push_back(std::move(of_class));
        with_positives += calibrated[c].support() > 0;
    }
    return {{"clips", table.rows()},
            {"classes_with_positives", with_positives},
            {"macro_f1",
             {{"calibrated", macro_report(calibrated, training_positives)},
              {"at_0.5", macro_report(at_half, training_positives)}}},
            {"mean_average_precision", mean_average_precision(table)},
            {"classes", std::move(classes)}};
}

json left_out_report(std::span<const LeftOut> left_out) {
    json items = json::array();
    for (const auto& [item, reason] : left_out.first(std::min(left_out.size(), kMaxLeftOutListed)))
        items.push_back({{"item", item}, {"reason", reason}});
    return {{"count", left_out.size()}, {"items", std::move(items)}};
}

}  // namespace chorus
