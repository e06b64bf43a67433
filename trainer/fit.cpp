#include "trainer/fit.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "model/classifier.h"
#include "trainer/dataset.h"
#include "trainer/evaluation.h"
#include "trainer/feature_store.h"
#include "trainer/layouts.h"
#include "trainer/report.h"
#include "trainer/scoring.h"
#include "trainer/splits.h"

namespace chorus {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Hours of training must not end in a path that can't be written.
void require_writable(const std::filesystem::path& path) {
    const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
    if (!std::filesystem::is_directory(folder))
        throw std::runtime_error(fmt::format("{}: its folder does not exist", path.string()));
    if (std::filesystem::is_directory(path)) throw std::runtime_error(fmt::format("{}: is a folder", path.string()));
    if (access(folder.c_str(), W_OK) != 0)
        throw std::runtime_error(fmt::format("{}: its folder cannot be written", path.string()));
}

/// Now, or the time that whoever wants the same bytes again has set (reproducible-builds.org).
std::string date_of_bundle() {
    auto time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    if (const auto* set = std::getenv("SOURCE_DATE_EPOCH")) time = std::strtoll(set, nullptr, 10);
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time));
}

std::filesystem::path checkpoint_of(const FitOptions& options) {
    return options.out.string() + ".checkpoint";
}

std::vector<std::uint8_t> all_targets(const Dataset& dataset) {
    std::vector<std::uint8_t> targets;
    targets.reserve(dataset.clips.size() * dataset.classes.size());
    for (const auto& clip : dataset.clips) targets.insert(targets.end(), clip.targets.begin(), clip.targets.end());
    return targets;
}

TrainedNetwork train_with_progress(const FitOptions& options, const Dataset& dataset, const FeatureStore& features,
                                   const Split& split, Progress& progress) {
    const auto targets = all_targets(dataset);
    const TrainingData data{.features = features,
                            .targets = targets,
                            .classes = dataset.classes.size(),
                            .training = split.training,
                            .validation = split.validation};
    const auto checkpoint = checkpoint_of(options);
    if (!options.resume && std::filesystem::exists(checkpoint))
        fmt::print(stderr, "{} of an unfinished training is not used: --resume would go on from it\n",
                   checkpoint.string());
    const Persistence persistence{.checkpoint = checkpoint,
                                  .interval_seconds = options.checkpoint_seconds,
                                  .resume = options.resume,
                                  .must_stop = options.must_stop};
    bool begun = false;
    std::string note;
    const auto show = [&](const TrainingProgress& at) {
        if (!begun) progress.begin("training", at.samples_in_all, "clips");
        begun = true;
        note = fmt::format("loss {:.4f}", at.loss);
        if (at.mean_average_precision) note += fmt::format(", held-out AP {:.3f}", *at.mean_average_precision);
        progress.update(at.samples_done, note);
    };
    auto trained = train(data, options.training, show, persistence);
    progress.finish(fmt::format("{}, best epoch {}", note, trained.best_epoch));
    return trained;
}

/// How many recordings some clips are of.
std::size_t count_recordings(std::span<const std::uint32_t> recordings) {
    return recordings.empty() ? 0 : *std::max_element(recordings.begin(), recordings.end()) + std::size_t{1};
}

json training_report(const FitOptions& options, const TrainedNetwork& trained) {
    json epochs = json::array();
    for (const auto& epoch : trained.epochs) {
        epochs.push_back({{"loss", epoch.loss}, {"held_out_mean_average_precision", nullptr}});
        if (epoch.validation_mean_average_precision)
            epochs.back()["held_out_mean_average_precision"] = *epoch.validation_mean_average_precision;
    }
    auto report = describe(options.training);
    report["threads"] = options.training.threads;
    report["best_epoch"] = trained.best_epoch;
    report["samples_per_second"] = static_cast<double>(trained.samples) / trained.seconds_in_steps;
    report["by_epoch"] = std::move(epochs);
    return report;
}

json activity_report(const std::optional<ActivityTable>& table, int dated_recordings) {
    return {{"dated_recordings", dated_recordings},
            {"fewest_for_a_table", kFewestDatedRecordings},
            {"hours", table ? json(table->solar ? "solar" : "utc") : json(nullptr)}};
}

/// What a bundle remembers of a report: the figures without the list of files, and what its classes were learned from.
std::string metrics_of(const json& report, std::span<const int> training_positives) {
    return json({{"held_out", report.at("held_out")},
                 {"test", report.at("test")},
                 {"training_positives", training_positives}})
        .dump();
}

}  // namespace

json fit(const FitOptions& options, Progress& progress) {
    const auto began = Clock::now();
    validate(options.training);
    require_writable(options.out);
    const FrontEnd front_end(options.front_end);

    auto dataset = read_dataset(options.dataset, options.data, options.front_end.window_seconds);
    auto species = species_of(options.dataset);
    const auto features = load_features(front_end, dataset, options.training.threads, progress);
    refuse_left_out(dataset, options.data);
    const double feature_seconds = seconds_since(began);
    const auto split = split_by_recording(dataset);
    if (split.training.empty())
        throw std::runtime_error(fmt::format("{}: no training clip is left", options.dataset.string()));

    const auto trained = train_with_progress(options, dataset, features, split, progress);

    const auto train_positives = count_positives(dataset, Subset::kTrain);
    const auto groups = class_groups(dataset.classes, species, train_positives,
                                     split.training.size() + split.validation.size(), options.groups);
    Bundle bundle;
    bundle.architecture = options.training.architecture;
    bundle.front_end = options.front_end;
    for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
        const auto& code = dataset.classes[c];
        bundle.labels.push_back({.code = code, .name = species[code].name, .group = groups[c]});
    }
    bundle.thresholds.assign(dataset.classes.size(), 0.5F);
    bundle.dataset_hash = dataset.manifest_hash;
    bundle.created = date_of_bundle();
    bundle.chorus_version = CHORUS_VERSION;
    bundle.tensors = trained.tensors;
    bundle.activity = learn_activity(dataset, split.training, options.activity);

    const auto evaluation_began = Clock::now();
    const auto classifier = make_classifier(bundle, {.device = "cpu", .threads = options.training.threads});
    const auto held_out = score_clips(*classifier, features, dataset, split.validation);
    if (split.validation.empty())
        fmt::print(stderr, "no recording is held out: all thresholds stay 0.5 and the last epoch is kept\n");
    const auto thresholds = choose_thresholds(held_out, options.thresholds);
    bundle.thresholds = thresholds.values;
    const auto held_out_recordings = recordings_of(dataset, split.validation);
    auto rule = describe(thresholds, options.thresholds);
    rule["held_out_clips"] = split.validation.size();
    rule["held_out_recordings"] = count_recordings(held_out_recordings);
    bundle.threshold_rule = rule.dump();

    const auto report_of = [&](const ScoreTable& table, std::span<const std::uint32_t> recordings) -> json {
        if (table.rows() == 0) return nullptr;
        return evaluation_report(table, {.codes = dataset.classes,
                                         .thresholds = thresholds.values,
                                         .training_positives = train_positives,
                                         .groups = groups,
                                         .recordings = recordings,
                                         .resamples = options.resamples});
    };
    json report = {
        {"architecture", to_string(bundle.architecture)},
        {"classes", dataset.classes.size()},
        {"clips",
         {{"training", split.training.size()}, {"held_out", split.validation.size()}, {"test", split.test.size()}}},
        {"left_out", left_out_report(dataset.left_out)},
        {"training", training_report(options, trained)},
        {"activity", activity_report(bundle.activity, count_dated_recordings(dataset, split.training))},
        {"thresholds", std::move(rule)},
        {"held_out", report_of(held_out, held_out_recordings)},
        {"test",
         report_of(score_clips(*classifier, features, dataset, split.test), recordings_of(dataset, split.test))}};
    bundle.metrics = metrics_of(report, train_positives);
    report["bundle"] = options.out.string();
    report["id"] = write_bundle(options.out, bundle);
    std::filesystem::remove(checkpoint_of(options));
    report["seconds"] = {{"features", feature_seconds},
                         {"training_steps", trained.seconds_in_steps},
                         {"evaluation", seconds_since(evaluation_began)},
                         {"all", seconds_since(began)}};
    return report;
}

}  // namespace chorus
