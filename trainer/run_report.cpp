#include "trainer/run_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "trainer/curves.h"
#include "trainer/html_report.h"

namespace chorus {
namespace {

std::string place_of(const Clip& clip) {
    auto place = clip.audio.string();
    if (clip.offset_seconds) place += fmt::format(" at {:g} s", *clip.offset_seconds);
    if (clip.channel) place += fmt::format(", channel {}", *clip.channel);
    return place;
}

}  // namespace

void write_run_report(const std::filesystem::path& path, const std::string& title, const nlohmann::json& report,
                      const JudgedClips& judged, const Dataset& dataset, const FeatureStore& features) {
    const auto curves = curves_report(judged.table, judged.codes);
    ReportPage page{
        .title = title, .report = report, .evaluation = report.at(judged.part), .curves = curves, .mistakes = {}};
    for (const auto& mistake : worst_mistakes(judged.table, judged.thresholds)) {
        const auto row = judged.rows[mistake.row];
        ShownMistake shown{.item = place_of(dataset.clips[row]),
                           .code = judged.codes[mistake.class_index],
                           .score = mistake.score,
                           .threshold = judged.thresholds[mistake.class_index],
                           .is_present = mistake.is_present,
                           .features = {},
                           .mels = features.mels(),
                           .frames = features.frames()};
        shown.features.resize(static_cast<std::size_t>(shown.mels) * static_cast<std::size_t>(shown.frames));
        features.get(row, shown.features);
        page.mistakes.push_back(std::move(shown));
    }
    write_report(path, page);
}

}  // namespace chorus
