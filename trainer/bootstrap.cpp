#include "trainer/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "trainer/random.h"

namespace chorus {
namespace {

/// A clip among those of one class, from the highest score down.
struct RankedClip {
    std::uint32_t recording = 0;
    bool present = false;
    bool ends_tie = true;  // the next one has a lower score
};

struct Ranking {
    std::vector<RankedClip> clips;
    std::size_t hits = 0;  // so many of the first reach the threshold

    Ranking(const ScoreTable& table, std::size_t class_index, std::span<const std::uint32_t> recordings,
            float threshold) {
        const auto score = [&](std::size_t row) { return table.scores[row * table.classes + class_index]; };
        std::vector<std::size_t> order(table.rows());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
        for (std::size_t i = 0; i < order.size(); ++i) {
            const auto row = order[i];
            clips.push_back({.recording = recordings[row],
                             .present = table.targets[row * table.classes + class_index] != 0,
                             .ends_tie = i + 1 == order.size() || score(order[i + 1]) != score(row)});
            hits += score(row) >= threshold ? 1 : 0;
        }
    }
};

struct Figures {
    Counts counts;
    double average_precision = 0.0;
};

/// As count_hits() and average_precision() give them when each recording is there as often as it was drawn.
Figures figures_of(const Ranking& ranking, std::span<const int> drawn) {
    Figures figures;
    int above = 0;
    int true_above = 0;
    int counted = 0;
    double area = 0.0;
    for (std::size_t i = 0; i < ranking.clips.size(); ++i) {
        const auto& clip = ranking.clips[i];
        const int times = drawn[clip.recording];
        above += times;
        true_above += clip.present ? times : 0;
        if (i + 1 == ranking.hits)
            figures.counts = {
                .true_positives = true_above, .false_positives = above - true_above, .false_negatives = 0};
        if (!clip.ends_tie || true_above == counted) continue;
        area += static_cast<double>(true_above - counted) * true_above / above;
        counted = true_above;
    }
    figures.counts.false_negatives = true_above - figures.counts.true_positives;
    figures.average_precision = true_above == 0 ? 0.0 : area / true_above;
    return figures;
}

/// How often each of so many recordings is in each resample.
std::vector<std::vector<int>> draw_recordings(std::span<const std::uint32_t> recordings, int resamples,
                                              std::uint64_t seed) {
    const std::size_t count = *std::max_element(recordings.begin(), recordings.end()) + std::size_t{1};
    Random random(seed);
    std::vector<std::vector<int>> drawn;
    for (int i = 0; i < resamples; ++i) {
        drawn.emplace_back(count);
        for (std::size_t j = 0; j < count; ++j) ++drawn.back()[random.below(count)];
    }
    return drawn;
}

/// What count_hits() says of each recording alone: [recordings][classes].
std::vector<std::vector<Counts>> count_hits_by_recording(const ScoreTable& table, std::span<const float> thresholds,
                                                         std::span<const std::uint32_t> recordings) {
    std::vector<std::vector<Counts>> counts;
    for (std::size_t i = 0; i < table.scores.size(); ++i) {
        const auto recording = recordings[i / table.classes];
        while (counts.size() <= recording) counts.emplace_back(table.classes);
        auto& of_class = counts[recording][i % table.classes];
        const bool hit = table.scores[i] >= thresholds[i % table.classes];
        const bool present = table.targets[i] != 0;
        of_class.true_positives += hit && present;
        of_class.false_positives += hit && !present;
        of_class.false_negatives += !hit && present;
    }
    return counts;
}

/// Of a class, with each recording there as often as it was drawn.
Counts sum_up(const std::vector<std::vector<Counts>>& by_recording, std::size_t class_index,
              std::span<const int> drawn) {
    Counts sum;
    for (std::size_t i = 0; i < by_recording.size(); ++i) {
        const auto& counts = by_recording[i][class_index];
        sum.true_positives += drawn[i] * counts.true_positives;
        sum.false_positives += drawn[i] * counts.false_positives;
        sum.false_negatives += drawn[i] * counts.false_negatives;
    }
    return sum;
}

/// One figure in every resample.
struct Samples {
    std::vector<double> precision, recall, f1, average_precision;

    void add(const Figures& figures) {
        precision.push_back(chorus::precision(figures.counts));
        recall.push_back(chorus::recall(figures.counts));
        f1.push_back(chorus::f1(figures.counts));
        average_precision.push_back(figures.average_precision);
    }
};

}  // namespace

Intervals bootstrap(const ScoreTable& table, std::span<const std::uint32_t> recordings,
                    std::span<const float> thresholds, int resamples, std::uint64_t seed) {
    Intervals intervals;
    intervals.classes.resize(table.classes);
    if (recordings.empty() || resamples < 1) return intervals;
    const auto drawn = draw_recordings(recordings, resamples, seed);

    std::vector<double> f1_sums(drawn.size());
    std::vector<double> area_sums(drawn.size());
    std::vector<int> classes_with_positives(drawn.size());
    for (std::size_t c = 0; c < table.classes; ++c) {
        const Ranking ranking(table, c, recordings, thresholds[c]);
        Samples samples;
        for (std::size_t i = 0; i < drawn.size(); ++i) {
            const auto figures = figures_of(ranking, drawn[i]);
            if (figures.counts.support() == 0) continue;
            samples.add(figures);
            f1_sums[i] += samples.f1.back();
            area_sums[i] += figures.average_precision;
            ++classes_with_positives[i];
        }
        if (samples.f1.empty()) continue;
        intervals.classes[c] = {.precision = *middle_of(samples.precision),
                                .recall = *middle_of(samples.recall),
                                .f1 = *middle_of(samples.f1),
                                .average_precision = *middle_of(samples.average_precision)};
    }
    for (std::size_t i = 0; i < drawn.size(); ++i) {
        f1_sums[i] /= std::max(1, classes_with_positives[i]);
        area_sums[i] /= std::max(1, classes_with_positives[i]);
    }
    intervals.macro_f1 = *middle_of(f1_sums);
    intervals.mean_average_precision = *middle_of(area_sums);
    return intervals;
}

F1Differences f1_differences(const ScoreTable& first, std::span<const float> first_thresholds, const ScoreTable& second,
                             std::span<const float> second_thresholds, std::span<const std::uint32_t> recordings,
                             int resamples, std::uint64_t seed) {
    F1Differences differences;
    differences.classes.resize(first.classes);
    if (recordings.empty()) return differences;
    const auto before = count_hits_by_recording(first, first_thresholds, recordings);
    const auto after = count_hits_by_recording(second, second_thresholds, recordings);
    for (const auto& drawn : draw_recordings(recordings, resamples, seed)) {
        double sum = 0.0;
        int classes = 0;
        for (std::size_t c = 0; c < first.classes; ++c) {
            const auto counts = sum_up(before, c, drawn);
            if (counts.support() == 0) continue;
            differences.classes[c].push_back(f1(sum_up(after, c, drawn)) - f1(counts));
            sum += differences.classes[c].back();
            ++classes;
        }
        if (classes > 0) differences.macro.push_back(sum / classes);
    }
    return differences;
}

std::optional<Interval> middle_of(std::vector<double> values) {
    if (values.empty()) return std::nullopt;
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) {
        return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
    };
    return Interval{.low = at(0.025), .high = at(0.975)};
}

}  // namespace chorus
