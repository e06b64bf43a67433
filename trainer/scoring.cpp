#include "trainer/scoring.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>

namespace chorus {

ScoreTable score_clips(Classifier& classifier, const FeatureStore& features, const Dataset& dataset,
                       std::span<const std::size_t> rows) {
    constexpr std::size_t kBatch = 32;
    const auto window = static_cast<std::size_t>(features.mels()) * static_cast<std::size_t>(features.frames());
    std::vector<float> values(kBatch * window);
    std::vector<std::span<const float>> windows;
    ScoreTable table{.classes = classifier.classes(),
                     .scores = std::vector<float>(rows.size() * classifier.classes()),
                     .targets = {}};
    for (std::size_t at = 0; at < rows.size(); at += kBatch) {
        windows.clear();
        for (std::size_t i = 0; i < std::min(kBatch, rows.size() - at); ++i) {
            const auto row = rows[at + i];
            const auto place = std::span(values).subspan(i * window, window);
            features.get(row, place);
            windows.emplace_back(place);
            const auto& targets = dataset.clips[row].targets;
            table.targets.insert(table.targets.end(), targets.begin(), targets.end());
        }
        classifier.score(windows, std::span(table.scores).subspan(at * table.classes, windows.size() * table.classes));
    }
    return table;
}

std::vector<std::uint32_t> recordings_of(const Dataset& dataset, std::span<const std::size_t> rows) {
    std::unordered_map<std::string_view, std::uint32_t> numbers;
    std::vector<std::uint32_t> recordings;
    for (const auto row : rows) {
        const auto next = static_cast<std::uint32_t>(numbers.size());
        recordings.push_back(numbers.try_emplace(dataset.clips[row].recording, next).first->second);
    }
    return recordings;
}

FeatureStore load_features(const FrontEnd& front_end, Dataset& dataset, const FeatureOptions& options,
                           Progress& progress) {
    progress.begin("features", dataset.clips.size(), "clips");
    auto features =
        compute_features(front_end, dataset, options, [&](std::size_t done, std::size_t) { progress.update(done); });
    progress.update(features.size());
    progress.finish();
    say_what_was_left_out(dataset.left_out, progress);
    return features;
}

void say_what_was_left_out(std::span<const LeftOut> left_out, Progress& progress) {
    constexpr std::size_t kShown = 10;
    if (left_out.empty()) return;
    progress.say(fmt::format("left out: {}", left_out.size()));
    for (const auto& [item, reason] : left_out.first(std::min(left_out.size(), kShown)))
        progress.say(fmt::format("  {}: {}", item, reason));
    if (left_out.size() > kShown)
        progress.say(fmt::format("  and {} more, listed in the report", left_out.size() - kShown));
}

}  // namespace chorus
