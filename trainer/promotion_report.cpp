#include "trainer/promotion_report.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "trainer/curves.h"
#include "trainer/html_report.h"
#include "trainer/svg.h"

namespace chorus {
namespace {

using nlohmann::json;

const std::array<std::string, 2> kModels = {"current", "candidate"};

std::string decision(const json& line, const Comparison& comparison) {
    auto html = fmt::format("<p>Candidate {} was <b>{}</b>; the current model was {}.</p>\n<ul>\n",
                            escape_markup(line["candidate"].get<std::string>()),
                            escape_markup(line["outcome"].get<std::string>()),
                            escape_markup(line["current"].get<std::string>()));
    for (const auto& reason : line["reasons"])
        html += fmt::format("<li>{}</li>\n", escape_markup(reason.get<std::string>()));
    html += fmt::format("</ul>\n<p>Macro F1 {:.3f} &rarr; {:.3f}", comparison.macro.current_f1,
                        comparison.macro.candidate_f1);
    if (const auto& middle = comparison.macro.difference)
        html += fmt::format(" <small>[{:+.3f}, {:+.3f}]</small>", middle->low, middle->high);
    const auto& noise = comparison.noise;
    html += fmt::format("; false events in {:.2f} h of noise: {} &rarr; {}.</p>\n", noise.hours, noise.current_events,
                        noise.candidate_events);
    const auto tell = [&](std::string_view what, const MacroComparison& macro) {
        html += fmt::format("<p>Macro F1 {}: {:.3f} &rarr; {:.3f}.</p>\n", what, macro.current_f1, macro.candidate_f1);
    };
    if (comparison.known_classes) tell("over the known classes alone", *comparison.known_classes);
    if (comparison.earlier) tell("by the labels of the last decision", comparison.earlier->macro);
    if (!comparison.not_judged.empty())
        html += fmt::format("<p>Known classes that no held-out clip holds, and nothing judged: {}.</p>\n",
                            escape_markup(fmt::format("{}", fmt::join(comparison.not_judged, ", "))));
    return html;
}

std::string class_table(const Comparison& comparison, const json& evaluation) {
    std::string html =
        "<table><tr><th>Class</th><th>in training</th><th>held out</th><th>F1 current</th><th>F1 candidate</th>"
        "<th>difference</th><th>falls beyond the margin</th></tr>\n";
    for (std::size_t c = 0; c < comparison.classes.size(); ++c) {
        const auto& of = comparison.classes[c];
        const auto difference =
            of.difference ? fmt::format("{:+.3f} <small>[{:+.2f}, {:+.2f}]</small>", of.candidate_f1 - of.current_f1,
                                        of.difference->low, of.difference->high)
                          : std::string("–");
        html += fmt::format(
            "<tr><td>{}{}</td><td>{}</td><td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{}</td><td>{:.0f} %</td></tr>\n",
            escape_markup(of.code), of.is_new ? " (new)" : "",
            evaluation.at("classes").at(c).value("training_positives", 0), of.positives, of.current_f1, of.candidate_f1,
            difference, 100.0 * of.fall_share);
    }
    return html + "</table>\n";
}

Estimate estimate(double f1, const std::optional<ClassIntervals>& intervals) {
    return {.value = f1, .low = intervals ? intervals->f1.low : f1, .high = intervals ? intervals->f1.high : f1};
}

std::string f1_chart(const Judgement& judgement) {
    constexpr int kResamples = 1000;
    const auto intervals = [&](const GatedModel& model) {
        return bootstrap(model.table, judgement.recordings, model.thresholds, kResamples);
    };
    const auto before = intervals(judgement.current);
    const auto after = intervals(judgement.candidate);
    std::vector<EstimateRow> rows;
    for (std::size_t c = 0; c < judgement.codes.size(); ++c) {
        const auto& of = judgement.comparison.classes[c];
        if (of.positives > 0)
            rows.push_back({.label = of.code,
                            .estimates = {estimate(of.current_f1, before.classes[c]),
                                          estimate(of.candidate_f1, after.classes[c])}});
    }
    return interval_chart("F1 on held-out recordings", kModels, rows);
}

std::string curves_of_both(const Judgement& judgement) {
    std::string html = "<div class='pictures'>";
    for (std::size_t c = 0; c < judgement.codes.size(); ++c) {
        if (judgement.comparison.classes[c].positives == 0) continue;
        const std::array<Series, 2> lines = {
            Series{.label = kModels[0], .points = precision_recall_curve(judgement.current.table, c)},
            Series{.label = kModels[1], .points = precision_recall_curve(judgement.candidate.table, c)}};
        html += line_chart(judgement.codes[c], {.label = "recall"}, {.label = "precision"}, lines);
    }
    return html + "</div>\n";
}

}  // namespace

void write_promotion_report(const std::filesystem::path& path, const json& line, const Judgement& judgement,
                            const json& fitted) {
    auto report = fitted;
    report["decision"] = line;
    const auto& evaluation = fitted.at("test");
    const auto curves = curves_report(judgement.candidate.table, judgement.codes);
    write_report(
        path, {.title = fmt::format("{}: {}", line["candidate"].get<std::string>(), line["outcome"].get<std::string>()),
               .report = report,
               .evaluation = evaluation,
               .curves = curves,
               .introduction = decision(line, judgement.comparison) + "<h2>Before and after</h2>" +
                               f1_chart(judgement) + class_table(judgement.comparison, evaluation) +
                               curves_of_both(judgement) + "<h2>The candidate</h2>"});
}

}  // namespace chorus
