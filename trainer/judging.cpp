#include "trainer/judging.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "model/classifier.h"
#include "trainer/audio_file.h"
#include "trainer/audio_index.h"
#include "trainer/noise.h"
#include "trainer/scoring.h"
#include "trainer/windows.h"

namespace chorus {
namespace {

std::vector<std::size_t> all_rows(std::size_t count) {
    std::vector<std::size_t> rows(count);
    for (std::size_t i = 0; i < count; ++i) rows[i] = i;
    return rows;
}

/// With a score of 0 for the classes after its own.
ScoreTable widen(const ScoreTable& table, std::size_t classes, std::vector<std::uint8_t> targets) {
    ScoreTable wide{.classes = classes, .scores = {}, .targets = std::move(targets)};
    wide.scores.resize(wide.targets.size());
    for (std::size_t i = 0; i < table.scores.size(); ++i)
        wide.scores[i / table.classes * classes + i % table.classes] = table.scores[i];
    return wide;
}

/// Both models' scores of some clips.
struct Scores {
    ScoreTable current;  // over its own classes
    ScoreTable candidate;
};

/// Every window of the recordings of a folder, each channel for itself.
Dataset windows_of_noise(const std::filesystem::path& folder, const DataOptions& data, double window_seconds) {
    Dataset dataset;
    const AudioIndex index(folder);
    for (const auto& file : index.files()) {
        try {
            const auto info = read_audio_info(file);
            const auto windows = cut_windows(
                info.seconds, {}, 0, {.window_seconds = window_seconds, .hop_seconds = data.window_hop_seconds});
            for (int channel = 0; channel < info.channels; ++channel)
                for (const auto& window : windows)
                    dataset.clips.push_back({.audio = file,
                                             .offset_seconds = window.start_seconds,
                                             .channel = channel,
                                             .recording = file.string(),
                                             .start_seconds = window.start_seconds,
                                             .targets = {}});
        } catch (const std::exception& error) {
            dataset.left_out.push_back(left_out_of(file, error.what()));
        }
    }
    return dataset;
}

/// A channel of a sound file. A clip's `recording`, which splits go by, may be all that a site recorded in a day.
using Stretch = std::pair<std::filesystem::path, std::optional<int>>;

Stretch stretch_of(const Clip& clip) {
    return {clip.audio, clip.channel};
}

/// Rows of the stretches that hold no class in any window.
std::vector<std::size_t> quiet_rows(const Dataset& dataset) {
    std::set<Stretch> calling;
    for (const auto& clip : dataset.clips)
        if (std::count(clip.targets.begin(), clip.targets.end(), 1) > 0) calling.insert(stretch_of(clip));
    std::vector<std::size_t> rows;
    for (std::size_t row = 0; row < dataset.clips.size(); ++row)
        if (!calling.contains(stretch_of(dataset.clips[row]))) rows.push_back(row);
    return rows;
}

Dataset keep_test_clips(Dataset dataset) {
    std::erase_if(dataset.clips, [](const Clip& clip) { return clip.subset != Subset::kTest; });
    return dataset;
}

std::vector<float> scores_of(const ScoreTable& table, std::span<const std::size_t> rows) {
    std::vector<float> scores;
    for (const auto row : rows) {
        const auto of_row = std::span(table.scores).subspan(row * table.classes, table.classes);
        scores.insert(scores.end(), of_row.begin(), of_row.end());
    }
    return scores;
}

class Judge {
  public:
    Judge(const Bundle& current, const Bundle& candidate, const JudgingOptions& options, Progress& progress)
        : current_(current),
          candidate_(candidate),
          options_(options),
          progress_(progress),
          front_end_(candidate.front_end),
          serving_(make_classifier(current, {.device = "cpu", .threads = options.threads})),
          proposed_(make_classifier(candidate, {.device = "cpu", .threads = options.threads})) {
        for (const auto& label : candidate.labels) codes_.push_back(label.code);
    }

    Judgement run() {
        auto dataset = keep_test_clips(read_dataset(options_.dataset, options_.data, window_seconds()));
        const auto labelled = take_classes(dataset, codes_);
        const auto scores = score(dataset);

        auto thresholds = current_.thresholds;
        thresholds.resize(codes_.size(), 1.0F);
        const GatedModel current{.table = widen(scores.current, codes_.size(), scores.candidate.targets),
                                 .thresholds = thresholds};
        const GatedModel candidate{.table = scores.candidate, .thresholds = candidate_.thresholds};
        const auto known = std::lower_bound(labelled.begin(), labelled.end(), current_.labels.size());
        Judgement judgement{.comparison = {},
                            .codes = pick(codes_, labelled),
                            .recordings = recordings_of(dataset, all_rows(dataset.clips.size())),
                            .current = keep_classes(current, labelled),
                            .candidate = keep_classes(candidate, labelled)};
        judgement.comparison =
            compare_models(judgement.current, judgement.candidate, judgement.codes,
                           static_cast<std::size_t>(known - labelled.begin()), judgement.recordings, options_.gates);
        judgement.comparison.earlier = compare_by_earlier_labels(dataset, current, candidate);
        judgement.comparison.not_judged = not_judged(judgement.comparison);
        judgement.comparison.noise = options_.noise.empty() ? count(dataset, quiet_rows(dataset), scores) : in_noise();
        return judgement;
    }

  private:
    /// The test clips as they were labelled at the last decision.
    std::optional<Dataset> read_earlier() const {
        if (!std::filesystem::exists(options_.earlier_labels)) return std::nullopt;
        try {
            return keep_test_clips(
                read_by_labels(options_.dataset, options_.earlier_labels, options_.data, window_seconds()));
        } catch (const std::runtime_error& error) {
            fmt::print(stderr, "nothing is compared by earlier labels: {}\n", error.what());
            return std::nullopt;
        }
    }

    /// On the clips of `dataset`, the tables' rows, that were there already, over the known classes that enough of them
    /// held.
    std::optional<EarlierComparison> compare_by_earlier_labels(const Dataset& dataset, const GatedModel& current,
                                                               const GatedModel& candidate) const {
        auto earlier = read_earlier();
        if (!earlier) return std::nullopt;
        take_classes(*earlier, codes_);
        std::map<std::pair<Stretch, double>, const Clip*> clips;
        for (const auto& clip : earlier->clips) clips[{stretch_of(clip), clip.start_seconds}] = &clip;
        std::vector<std::size_t> rows;
        std::vector<std::uint8_t> targets;
        for (std::size_t row = 0; row < dataset.clips.size(); ++row) {
            const auto& clip = dataset.clips[row];
            const auto found = clips.find({stretch_of(clip), clip.start_seconds});
            if (found == clips.end()) continue;
            rows.push_back(row);
            targets.insert(targets.end(), found->second->targets.begin(), found->second->targets.end());
        }
        std::vector<std::size_t> classes;
        for (std::size_t c = 0; c < current_.labels.size(); ++c) {
            int positives = 0;
            for (std::size_t i = c; i < targets.size(); i += codes_.size()) positives += targets[i];
            if (positives > 0 && positives >= options_.gates.min_positives) classes.push_back(c);
        }
        if (classes.empty()) return std::nullopt;
        const auto on_rows = [&](const GatedModel& model) {
            const ScoreTable table{
                .classes = codes_.size(), .scores = scores_of(model.table, rows), .targets = targets};
            return keep_classes(GatedModel{.table = table, .thresholds = model.thresholds}, classes);
        };
        auto comparison = compare_models(on_rows(current), on_rows(candidate), pick(codes_, classes), classes.size(),
                                         recordings_of(dataset, rows), options_.gates);
        return EarlierComparison{.macro = comparison.macro, .classes = std::move(comparison.classes)};
    }

    /// Codes of the known classes that no held-out clip holds.
    std::vector<std::string> not_judged(const Comparison& comparison) const {
        std::set<std::string_view> judged;
        for (const auto& of_class : comparison.classes)
            if (of_class.positives > 0) judged.insert(of_class.code);
        std::vector<std::string> codes;
        for (const auto& label : current_.labels)
            if (!judged.contains(label.code)) codes.push_back(label.code);
        return codes;
    }

    double window_seconds() const { return candidate_.front_end.window_seconds; }

    /// Of all clips that can be read; the others leave the dataset.
    Scores score(Dataset& dataset) {
        if (dataset.clips.empty())
            return {.current = {.classes = serving_->classes(), .scores = {}, .targets = {}},
                    .candidate = {.classes = proposed_->classes(), .scores = {}, .targets = {}}};
        const auto features =
            load_features(front_end_, dataset, {.threads = options_.threads, .cache = options_.data.cache}, progress_);
        const auto rows = all_rows(features.size());
        return {.current = score_clips(*serving_, features, dataset, rows),
                .candidate = score_clips(*proposed_, features, dataset, rows)};
    }

    NoiseComparison in_noise() {
        auto dataset = windows_of_noise(options_.noise, options_.data, window_seconds());
        const auto scores = score(dataset);
        return count(dataset, all_rows(dataset.clips.size()), scores);
    }

    NoiseComparison count(const Dataset& dataset, std::span<const std::size_t> rows, const Scores& scores) const {
        std::map<Stretch, std::uint32_t> stretches;
        std::vector<NoiseWindow> windows;
        for (const auto row : rows) {
            const auto& clip = dataset.clips[row];
            const auto next = static_cast<std::uint32_t>(stretches.size());
            windows.push_back({.stretch = stretches.try_emplace(stretch_of(clip), next).first->second,
                               .start_seconds = clip.start_seconds});
        }
        const auto events = [&](const ScoreTable& table, std::span<const float> thresholds) {
            return count_false_events(windows, window_seconds(), scores_of(table, rows), thresholds);
        };
        return {.hours = hours_of(windows, window_seconds()),
                .current_events = events(scores.current, current_.thresholds),
                .candidate_events = events(scores.candidate, candidate_.thresholds)};
    }

    const Bundle& current_;
    const Bundle& candidate_;
    const JudgingOptions& options_;
    Progress& progress_;
    FrontEnd front_end_;
    std::vector<std::string> codes_;  // the candidate's: the current model's first
    std::unique_ptr<Classifier> serving_;
    std::unique_ptr<Classifier> proposed_;
};

}  // namespace

Judgement judge(const Bundle& current, const Bundle& candidate, const JudgingOptions& options, Progress& progress) {
    return Judge(current, candidate, options, progress).run();
}

}  // namespace chorus
