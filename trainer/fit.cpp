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
#include "trainer/backgrounds.h"
#include "trainer/dataset.h"
#include "trainer/embeddings.h"
#include "trainer/evaluation.h"
#include "trainer/event_scores.h"
#include "trainer/feature_store.h"
#include "trainer/growth.h"
#include "trainer/layouts.h"
#include "trainer/report.h"
#include "trainer/run_report.h"
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

/// What `init` gives, or nothing of it.
struct Beginning {
    std::optional<Bundle> parent;
    std::vector<std::size_t> labelled;  // classes that the dataset has labels for
    std::vector<float> targets;         // what is learned, if other than those labels
    std::map<std::string, StoredTensor> tensors;

    bool is_inherited(std::size_t class_index) const {
        return std::find(labelled.begin(), labelled.end(), class_index) == labelled.end();
    }
    /// All such classes.
    std::vector<std::size_t> inherited() const {
        std::vector<std::size_t> classes;
        for (std::size_t c = 0; parent && c < parent->labels.size(); ++c)
            if (is_inherited(c)) classes.push_back(c);
        return classes;
    }
};

std::vector<std::size_t> all_of(const std::vector<std::string>& classes) {
    std::vector<std::size_t> all(classes.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    return all;
}

std::vector<std::uint8_t> all_targets(const Dataset& dataset) {
    std::vector<std::uint8_t> targets;
    targets.reserve(dataset.clips.size() * dataset.classes.size());
    for (const auto& clip : dataset.clips) targets.insert(targets.end(), clip.targets.begin(), clip.targets.end());
    return targets;
}

TrainedNetwork train_with_progress(const FitOptions& options, const Dataset& dataset, const FeatureStore& features,
                                   const FeatureStore* background, const Embeddings& embeddings, const Split& split,
                                   const Beginning& beginning, const ProcessGroup& processes, Progress& progress) {
    const auto targets = all_targets(dataset);
    const TrainingData data{.features = features,
                            .targets = targets,
                            .classes = dataset.classes.size(),
                            .training = split.training,
                            .validation = split.validation,
                            .soft_targets = beginning.targets,
                            .beginning = beginning.parent ? &beginning.tensors : nullptr,
                            .background = background,
                            .embeddings = &embeddings};
    const auto checkpoint = checkpoint_of(options);
    if (processes.leads() && options.resume == Resume::kNever && std::filesystem::exists(checkpoint))
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
    auto trained = train(data, options.training, show, persistence, processes);
    if (begun) progress.finish(fmt::format("{}, best epoch {}", note, trained.best_epoch));
    return trained;
}

/// Of the rows that training looks at; of none where neither new classes nor a head that learns alone ask for any.
Embeddings embeddings_for(const FitOptions& options, const Dataset& dataset, const FeatureStore& features,
                          const Split& split, const Bundle& parent, Progress& progress) {
    const bool are_frozen = options.training.freeze == Freeze::kEmbeddings;
    if (!are_frozen && dataset.classes.size() == parent.labels.size()) return {};
    auto rows = split.training;
    if (are_frozen) rows.insert(rows.end(), split.validation.begin(), split.validation.end());
    return embed_clips(parent, features, rows, options.training.threads,
                       are_frozen ? options.embeddings : std::filesystem::path(), progress, options.must_stop);
}

/// Of all clips; of none where the dataset has labels for all classes.
std::vector<float> scores_of_parent(const FitOptions& options, const Dataset& dataset, const FeatureStore& features,
                                    const Embeddings& embeddings, const Beginning& beginning) {
    if (beginning.labelled.size() == dataset.classes.size()) return {};
    if (options.training.freeze == Freeze::kEmbeddings) return score_embeddings(*beginning.parent, embeddings);
    const auto classifier = make_classifier(*beginning.parent, {.device = "cpu", .threads = options.training.threads});
    std::vector<std::size_t> rows(features.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    return score_clips(*classifier, features, dataset, rows).scores;
}

/// How many recordings some clips are of.
std::size_t count_recordings(std::span<const std::uint32_t> recordings) {
    return recordings.empty() ? 0 : *std::max_element(recordings.begin(), recordings.end()) + std::size_t{1};
}

json training_report(const FitOptions& options, const TrainedNetwork& trained, const ProcessGroup& processes) {
    json epochs = json::array();
    for (const auto& epoch : trained.epochs) {
        epochs.push_back({{"loss", epoch.loss}, {"held_out_mean_average_precision", nullptr}});
        if (epoch.validation_mean_average_precision)
            epochs.back()["held_out_mean_average_precision"] = *epoch.validation_mean_average_precision;
    }
    auto report = describe(options.training);
    report["threads"] = options.training.threads;
    report["device"] = options.training.device;
    report["processes"] = processes.size();
    report["best_epoch"] = trained.best_epoch;
    if (trained.samples > 0)
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

/// The parent's labels, and after them those that are new.
std::vector<Label> labels_of(const Dataset& dataset, const Beginning& beginning,
                             const std::map<std::string, Species>& species, std::span<const std::string> groups) {
    std::vector<Label> labels;
    if (beginning.parent) labels = beginning.parent->labels;
    for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
        const auto& code = dataset.classes[c];
        const auto known = species.find(code);
        if (c == labels.size()) labels.push_back({.code = code, .name = {}, .group = {}});
        if (known != species.end() && !known->second.name.empty()) labels[c].name = known->second.name;
        if (!beginning.is_inherited(c)) labels[c].group = groups[c];
    }
    return labels;
}

/// Clips of the training subset that hold each class, or did when it was learned.
std::vector<int> training_positives_of(const Dataset& dataset, const Beginning& beginning) {
    auto positives = count_positives(dataset, Subset::kTrain);
    if (!beginning.parent) return positives;
    const auto inherited = training_positives_in(beginning.parent->metrics, beginning.parent->labels.size());
    for (std::size_t c = 0; c < inherited.size(); ++c)
        if (beginning.is_inherited(c)) positives[c] = inherited[c];
    return positives;
}

/// Splits don't look at classes (splits.h), so that chance may leave one out.
void say_what_is_not_held_out(std::span<const std::string> codes, std::span<const int> training_positives,
                              std::span<const int> held_out_positives) {
    std::string missing;
    for (std::size_t c = 0; c < codes.size(); ++c)
        if (training_positives[c] > 0 && held_out_positives[c] == 0)
            missing += (missing.empty() ? "" : ", ") + codes[c];
    if (!missing.empty()) fmt::print(stderr, "no held-out recording has {}, to choose a threshold by\n", missing);
}

/// With few clips a whole network forgets most of what it is not shown, whatever its parent says of them.
void say_what_may_be_lost(const Beginning& beginning, const TrainingOptions& training) {
    const auto inherited = beginning.inherited().size();
    if (inherited == 0 || training.epochs == 0 || training.freeze != Freeze::kNothing) return;
    fmt::print(
        stderr,
        "{} of the parent's {} classes have no labels here and may be lost as the whole network learns: --epochs 0 "
        "and training.freeze=embeddings keep them\n",
        inherited, beginning.parent->labels.size());
}

/// Where the held-out recordings say nothing of a class, the parent's threshold stays.
void keep_thresholds(const Bundle& parent, Thresholds& thresholds) {
    for (std::size_t c = 0; c < parent.thresholds.size(); ++c)
        if (thresholds.positives[c] == 0) thresholds.values[c] = parent.thresholds[c];
}

/// What was learned of when animals call, else what the parent knew, with nothing of new classes.
std::optional<ActivityTable> activity_of(const Dataset& dataset, std::span<const std::size_t> rows,
                                         const FitOptions& options, const Beginning& beginning) {
    auto learned = learn_activity(dataset, rows, options.activity);
    if (learned || !beginning.parent || !beginning.parent->activity) return learned;
    auto inherited = beginning.parent->activity;
    inherited->shifts.resize(dataset.classes.size() * ActivityTable::kCells);
    return inherited;
}

}  // namespace

json fit(const FitOptions& given, Progress& progress, const ProcessGroup& processes) {
    const auto began = Clock::now();
    auto options = given;
    validate(options.training);
    require_device(options.training, processes);
    if (processes.leads()) {
        require_writable(options.out);
        if (!options.report.empty()) require_writable(options.report);
    }
    Beginning beginning;
    if (!options.init.empty()) {
        beginning.parent = read_bundle(options.init);
        options.front_end = beginning.parent->front_end;
        options.training.architecture = beginning.parent->architecture;
    } else if (options.training.epochs == 0 || options.training.freeze != Freeze::kNothing) {
        throw std::invalid_argument("no epochs, or a frozen network, need a bundle to begin with");
    }
    const FrontEnd front_end(options.front_end);

    auto dataset = read_dataset(options.dataset, options.data, options.front_end.window_seconds);
    const auto species = species_of(options.dataset);
    beginning.labelled = beginning.parent ? adopt_classes(dataset, *beginning.parent) : all_of(dataset.classes);
    const FeatureOptions of_features{
        .threads = options.training.threads, .cache = options.data.cache, .must_stop = options.must_stop};
    const auto features = load_features(front_end, dataset, of_features, progress);
    refuse_left_out(dataset, options.data);
    std::optional<FeatureStore> background;
    if (!options.background.empty() && options.training.augmentation.scope != AugmentationScope::kNone) {
        auto noise = read_backgrounds(options.background, options.front_end.window_seconds);
        background = load_features(front_end, noise, of_features, progress);
        refuse_left_out(noise, options.data);
    }
    const double feature_seconds = seconds_since(began);
    const auto split = split_by_recording(dataset);
    if (split.training.empty())
        throw std::runtime_error(fmt::format("{}: no training clip is left", options.dataset.string()));

    Embeddings embeddings;
    if (beginning.parent) {
        if (processes.leads()) say_what_may_be_lost(beginning, options.training);
        embeddings = embeddings_for(options, dataset, features, split, *beginning.parent, progress);
        const auto scores = scores_of_parent(options, dataset, features, embeddings, beginning);
        beginning.targets = targets_beside_parent(dataset, *beginning.parent, beginning.labelled, scores);
        beginning.tensors = grow_network(*beginning.parent, dataset, embeddings, split.training);
    }
    auto trained = train_with_progress(options, dataset, features, background ? &*background : nullptr, embeddings,
                                       split, beginning, processes, progress);
    if (!processes.leads()) return nullptr;

    if (options.training.freeze != Freeze::kNothing)
        keep_head_rows(*beginning.parent, beginning.inherited(), trained.tensors);

    const auto train_positives = training_positives_of(dataset, beginning);
    const auto groups = class_groups(dataset.classes, species, train_positives,
                                     split.training.size() + split.validation.size(), options.groups);
    Bundle bundle;
    bundle.architecture = options.training.architecture;
    bundle.front_end = options.front_end;
    bundle.labels = labels_of(dataset, beginning, species, groups);
    if (beginning.parent) bundle.parent = beginning.parent->id;
    bundle.thresholds.assign(dataset.classes.size(), 0.5F);
    bundle.dataset_hash = dataset.manifest_hash;
    bundle.created = date_of_bundle();
    bundle.chorus_version = CHORUS_VERSION;
    bundle.tensors = trained.tensors;
    bundle.activity = activity_of(dataset, split.training, options, beginning);

    const auto evaluation_began = Clock::now();
    const auto classifier = make_classifier(bundle, {.device = "cpu", .threads = options.training.threads});
    const auto held_out = score_clips(*classifier, features, dataset, split.validation);
    if (split.validation.empty())
        fmt::print(stderr, "no recording is held out: all thresholds stay 0.5 and the last epoch is kept\n");
    auto thresholds = choose_thresholds(held_out, options.thresholds);
    if (!split.validation.empty())
        say_what_is_not_held_out(pick(dataset.classes, beginning.labelled), pick(train_positives, beginning.labelled),
                                 pick(thresholds.positives, beginning.labelled));
    if (beginning.parent) keep_thresholds(*beginning.parent, thresholds);
    bundle.thresholds = thresholds.values;
    auto rule = describe(thresholds, options.thresholds);
    rule["held_out_clips"] = split.validation.size();
    rule["held_out_recordings"] = count_recordings(recordings_of(dataset, split.validation));
    bundle.threshold_rule = rule.dump();

    const auto judge = [&](std::string part, const ScoreTable& table, std::span<const std::size_t> rows) {
        return JudgedClips{.part = std::move(part),
                           .table = keep_classes(table, beginning.labelled),
                           .rows = rows,
                           .codes = pick(dataset.classes, beginning.labelled),
                           .thresholds = pick(thresholds.values, beginning.labelled)};
    };
    const auto report_of = [&](const JudgedClips& judged) -> json {
        if (judged.rows.empty()) return nullptr;
        auto found = evaluation_report(judged.table, {.codes = judged.codes,
                                                      .thresholds = judged.thresholds,
                                                      .training_positives = pick(train_positives, beginning.labelled),
                                                      .groups = pick(groups, beginning.labelled),
                                                      .recordings = recordings_of(dataset, judged.rows),
                                                      .resamples = options.resamples});
        found["events"] = event_report({.dataset = dataset,
                                        .rows = judged.rows,
                                        .table = judged.table,
                                        .classes = beginning.labelled,
                                        .codes = judged.codes,
                                        .thresholds = judged.thresholds},
                                       window_options(options.data, options.front_end.window_seconds));
        return found;
    };
    const auto on_held_out = judge("held_out", held_out, split.validation);
    const auto on_test = judge("test", score_clips(*classifier, features, dataset, split.test), split.test);
    json report = {
        {"architecture", to_string(bundle.architecture)},
        {"classes", dataset.classes.size()},
        {"parent", bundle.parent},
        {"clips",
         {{"training", split.training.size()}, {"held_out", split.validation.size()}, {"test", split.test.size()}}},
        {"left_out", left_out_report(dataset.left_out)},
        {"background_windows", background ? background->size() : 0},
        {"training", training_report(options, trained, processes)},
        {"activity", activity_report(bundle.activity, count_dated_recordings(dataset, split.training))},
        {"thresholds", std::move(rule)},
        {"held_out", report_of(on_held_out)},
        {"test", report_of(on_test)}};
    bundle.metrics = metrics_of(report, train_positives);
    report["bundle"] = options.out.string();
    report["id"] = write_bundle(options.out, bundle);
    std::filesystem::remove(checkpoint_of(options));
    report["seconds"] = {{"features", feature_seconds},
                         {"training_steps", trained.seconds_in_steps},
                         {"evaluation", seconds_since(evaluation_began)},
                         {"all", seconds_since(began)}};
    const auto& shown = split.test.empty() ? on_held_out : on_test;
    if (!options.report.empty() && !shown.rows.empty())
        write_run_report(options.report, options.out.filename().string(), report, shown, dataset, features);
    return report;
}

}  // namespace chorus
