#include "trainer/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "model/classifier.h"
#include "trainer/event_scores.h"
#include "trainer/report.h"
#include "trainer/run_report.h"
#include "trainer/scoring.h"

namespace chorus {
namespace {

using nlohmann::json;

std::vector<std::string> codes_of(const Bundle& bundle) {
    std::vector<std::string> codes;
    for (const auto& label : bundle.labels) codes.push_back(label.code);
    return codes;
}

/// Those of `codes` that `others` doesn't have.
std::vector<std::string> missing_in(const std::vector<std::string>& others, const std::vector<std::string>& codes) {
    std::vector<std::string> missing;
    for (const auto& code : codes)
        if (std::find(others.begin(), others.end(), code) == others.end()) missing.push_back(code);
    return missing;
}

std::string name_of(const std::optional<Subset>& subset) {
    if (!subset) return "all";
    return *subset == Subset::kTest ? "test" : "train";
}

}  // namespace

json evaluate(const EvaluateOptions& options, Progress& progress) {
    const auto bundle = read_bundle(options.model);
    const auto classifier =
        make_classifier(bundle, {.device = "cpu", .threads = options.threads, .precision = options.precision});
    const FrontEnd front_end(bundle.front_end);
    auto dataset = read_dataset(options.dataset, options.data, bundle.front_end.window_seconds);
    if (options.subset) std::erase_if(dataset.clips, [&](const Clip& clip) { return clip.subset != *options.subset; });
    if (dataset.clips.empty())
        throw std::runtime_error(fmt::format("{}: no clip in this subset", options.dataset.string()));

    const auto codes = codes_of(bundle);
    const auto unknown = missing_in(codes, dataset.classes);
    const auto unlabelled = missing_in(dataset.classes, codes);
    const auto shared = take_classes(dataset, codes);
    if (shared.empty())
        throw std::runtime_error(
            fmt::format("{}: the bundle knows none of the dataset's classes", options.model.string()));

    const auto features =
        load_features(front_end, dataset, {.threads = options.threads, .cache = options.data.cache}, progress);
    refuse_left_out(dataset, options.data);
    std::vector<std::size_t> rows(features.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const JudgedClips judged{.part = name_of(options.subset),
                             .table = keep_classes(score_clips(*classifier, features, dataset, rows), shared),
                             .rows = rows,
                             .codes = pick(codes, shared),
                             .thresholds = pick(bundle.thresholds, shared)};

    std::vector<std::string> groups;
    for (const auto place : shared) groups.push_back(bundle.labels[place].group);
    auto training_positives = training_positives_in(bundle.metrics, bundle.labels.size());
    if (!training_positives.empty()) training_positives = pick(training_positives, shared);
    auto found = evaluation_report(judged.table, {.codes = judged.codes,
                                                  .thresholds = judged.thresholds,
                                                  .training_positives = training_positives,
                                                  .groups = groups,
                                                  .recordings = recordings_of(dataset, rows),
                                                  .resamples = options.resamples});
    found["events"] = event_report({.dataset = dataset,
                                    .rows = judged.rows,
                                    .table = judged.table,
                                    .classes = shared,
                                    .codes = judged.codes,
                                    .thresholds = judged.thresholds},
                                   window_options(options.data, bundle.front_end.window_seconds));
    const json report = {{"model", options.model.string()},
                         {"id", bundle.id},
                         {"left_out", left_out_report(dataset.left_out)},
                         {"classes_without_label", unknown},
                         {"labels_without_class", unlabelled},
                         {judged.part, std::move(found)}};
    if (!options.report.empty())
        write_run_report(options.report, options.model.filename().string(), report, judged, dataset, features);
    return report;
}

}  // namespace chorus
