#include "trainer/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "model/classifier.h"
#include "trainer/report.h"
#include "trainer/scoring.h"

namespace chorus {
namespace {

using nlohmann::json;

/// Where the classes that bundle and dataset share stand in either.
struct SharedClasses {
    std::vector<std::string> codes;
    std::vector<std::size_t> in_bundle;
    std::vector<std::size_t> in_dataset;
    std::vector<std::string> only_in_bundle;
    std::vector<std::string> only_in_dataset;
};

SharedClasses share_classes(const std::vector<Label>& labels, const std::vector<std::string>& classes) {
    SharedClasses shared;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto& code = labels[i].code;
        const auto found = std::find(classes.begin(), classes.end(), code);
        if (found == classes.end()) {
            shared.only_in_bundle.push_back(code);
            continue;
        }
        shared.codes.push_back(code);
        shared.in_bundle.push_back(i);
        shared.in_dataset.push_back(static_cast<std::size_t>(found - classes.begin()));
    }
    for (const auto& code : classes)
        if (std::find(shared.codes.begin(), shared.codes.end(), code) == shared.codes.end())
            shared.only_in_dataset.push_back(code);
    return shared;
}

template <typename Value>
std::vector<Value> pick(const std::vector<Value>& values, std::span<const std::size_t> places) {
    std::vector<Value> picked;
    for (const auto place : places) picked.push_back(values[place]);
    return picked;
}

/// The columns of a bundle's scores that the dataset has labels for.
ScoreTable keep_classes(const ScoreTable& table, std::span<const std::size_t> columns) {
    ScoreTable kept{.classes = columns.size(), .scores = {}, .targets = table.targets};
    for (std::size_t at = 0; at < table.scores.size(); at += table.classes)
        for (const auto column : columns) kept.scores.push_back(table.scores[at + column]);
    return kept;
}

/// What the bundle's classes were learned from, as far as it says so.
std::vector<int> training_positives_of(const Bundle& bundle) {
    const auto metrics = json::parse(bundle.metrics, nullptr, false);
    if (!metrics.is_object() || !metrics.contains("training_positives")) return {};
    std::vector<int> positives;
    for (const auto& value : metrics["training_positives"]) {
        if (!value.is_number_integer()) return {};
        positives.push_back(value.get<int>());
    }
    return positives.size() == bundle.labels.size() ? positives : std::vector<int>{};
}

std::string name_of(const std::optional<Subset>& subset) {
    if (!subset) return "all";
    return *subset == Subset::kTest ? "test" : "train";
}

}  // namespace

json evaluate(const EvaluateOptions& options, Progress& progress) {
    const auto bundle = read_bundle(options.model);
    const auto classifier = make_classifier(bundle, {.device = "cpu", .threads = options.threads});
    const FrontEnd front_end(bundle.front_end);
    auto dataset = read_dataset(options.dataset, options.data, bundle.front_end.window_seconds);
    if (options.subset) std::erase_if(dataset.clips, [&](const Clip& clip) { return clip.subset != *options.subset; });
    if (dataset.clips.empty())
        throw std::runtime_error(fmt::format("{}: no clip in this subset", options.dataset.string()));

    const auto shared = share_classes(bundle.labels, dataset.classes);
    if (shared.codes.empty())
        throw std::runtime_error(
            fmt::format("{}: the bundle knows none of the dataset's classes", options.model.string()));
    for (auto& clip : dataset.clips) clip.targets = pick(clip.targets, shared.in_dataset);
    dataset.classes = shared.codes;

    const auto features = load_features(front_end, dataset, options.threads, progress);
    refuse_left_out(dataset, options.data);
    std::vector<std::size_t> rows(features.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const auto table = keep_classes(score_clips(*classifier, features, dataset, rows), shared.in_bundle);

    std::vector<std::string> groups;
    for (const auto place : shared.in_bundle) groups.push_back(bundle.labels[place].group);
    auto training_positives = training_positives_of(bundle);
    if (!training_positives.empty()) training_positives = pick(training_positives, shared.in_bundle);
    return {{"model", options.model.string()},
            {"id", bundle.id},
            {"left_out", left_out_report(dataset.left_out)},
            {"classes_without_label", shared.only_in_dataset},
            {"labels_without_class", shared.only_in_bundle},
            {name_of(options.subset), evaluation_report(table, {.codes = shared.codes,
                                                                .thresholds = pick(bundle.thresholds, shared.in_bundle),
                                                                .training_positives = training_positives,
                                                                .groups = groups,
                                                                .recordings = recordings_of(dataset, rows),
                                                                .resamples = options.resamples})}};
}

}  // namespace chorus
