#include "trainer/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "trainer/svg.h"

namespace chorus {
namespace {

using nlohmann::json;

constexpr auto* kStyle = R"(
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 74em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; } td, th { padding: .15em .6em; text-align: right; font-variant-numeric: tabular-nums; }
th { border-bottom: 1px solid #999; } td:first-child, th:first-child { text-align: left; } tr:nth-child(even) td { background: #f5f7fa; }
small { color: #667; } svg text { font: 10px system-ui, sans-serif; } svg .title { font-weight: 600; font-size: 11px; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .grid { stroke: #e3e6ea; }
.pictures { display: flex; flex-wrap: wrap; gap: .6em; } figure { margin: 0; max-width: 24em; } figcaption { font-size: .85em; }
img { width: 100%; image-rendering: pixelated; border: 1px solid #ccc; } pre { background: #f5f7fa; padding: .8em; overflow: auto; }
)";

/// "0.812", with the interval, if there is one, as "0.812 [0.75, 0.86]"; a dash for nothing.
std::string figure(const json& of, const std::string& key) {
    if (!of.contains(key) || !of[key].is_number()) return "–";
    auto text = fmt::format("{:.3f}", of[key].get<double>());
    const auto interval = key + "_95";
    if (of.contains(interval))
        text += fmt::format(" <small>[{:.2f}, {:.2f}]</small>", of[interval][0].get<double>(),
                            of[interval][1].get<double>());
    return text;
}

std::string cell(const std::string& markup) {
    return "<td>" + markup + "</td>";
}

std::string count(const json& of, const std::string& key) {
    return of.contains(key) && of[key].is_number_integer() ? std::to_string(of[key].get<long long>()) : "–";
}

std::string text_of(const json& of, const std::string& key) {
    return escape_markup(of.value(key, ""));
}

std::string overview(const json& evaluation) {
    const auto& macro = evaluation["macro_f1"];
    const auto& sizes = evaluation["class_sets"];
    std::string html =
        "<table><tr><th>Macro F1 over</th><th>classes</th><th>at the model's thresholds</th><th>at 0.5</th></tr>\n";
    for (const auto& [key, name] : {std::pair("all_classes", "all classes"),
                                    std::pair("classes_with_positives", "classes with positives in these clips"),
                                    std::pair("learnable_classes", "of them, those with positives in training")}) {
        if (!macro["calibrated"].contains(key)) continue;
        html += fmt::format("<tr>{}{}{}{}</tr>\n", cell(name), cell(count(sizes, key)),
                            cell(figure(macro["calibrated"], key)), cell(figure(macro["at_0.5"], key)));
    }
    html += fmt::format("</table>\n<p>Class-mean average precision {}; {} clips of {} recordings.</p>\n",
                        figure(evaluation, "mean_average_precision"), count(evaluation, "clips"),
                        count(evaluation, "recordings"));
    if (evaluation["groups"].empty()) return html;
    html +=
        "<table><tr><th>Group</th><th>classes with positives</th><th>macro F1</th><th>at 0.5</th><th>average "
        "precision</th></tr>\n";
    for (const auto& [group, figures] : evaluation["groups"].items())
        html +=
            fmt::format("<tr>{}{}{}{}{}</tr>\n", cell(escape_markup(group)),
                        cell(count(figures, "classes_with_positives")), cell(figure(figures["macro_f1"], "calibrated")),
                        cell(figure(figures["macro_f1"], "at_0.5")), cell(figure(figures, "mean_average_precision")));
    return html + "</table>\n";
}

std::string class_table(const json& evaluation) {
    std::string html =
        "<table><tr><th>Class</th><th>group</th><th>in training</th><th>here</th><th>threshold</th><th>precision</th>"
        "<th>recall</th><th>F1</th><th>F1 at 0.5</th><th>average precision</th></tr>\n";
    for (const auto& of : evaluation["classes"])
        html +=
            fmt::format("<tr>{}{}{}{}{}{}{}{}{}{}</tr>\n", cell(text_of(of, "code")), cell(text_of(of, "group")),
                        cell(count(of, "training_positives")), cell(count(of, "support")),
                        cell(figure(of, "threshold")), cell(figure(of, "precision")), cell(figure(of, "recall")),
                        cell(figure(of, "f1")), cell(figure(of, "f1_at_0.5")), cell(figure(of, "average_precision")));
    return html + "</table>\n";
}

std::string event_table(const json& evaluation) {
    if (!evaluation.contains("events") || evaluation["events"].is_null()) return {};
    const auto& events = evaluation["events"];
    auto html = fmt::format(
        "<h2>Events</h2><p>As chorusd tells of them, against labelled calls: macro F1 {} over the {} classes with "
        "calls.</p>\n<table><tr><th>Class</th><th>events</th><th>calls</th><th>precision</th><th>recall</th>"
        "<th>F1</th><th>wrong an hour</th></tr>\n",
        figure(events, "macro_f1"), count(events, "classes_with_calls"));
    for (const auto& of : events["classes"])
        html += fmt::format("<tr>{}{}{}{}{}{}{}</tr>\n", cell(text_of(of, "code")), cell(count(of, "events")),
                            cell(count(of, "calls")), cell(figure(of, "precision")), cell(figure(of, "recall")),
                            cell(figure(of, "f1")), cell(figure(of, "wrong_events_an_hour")));
    return html + "</table>\n";
}

std::string training_curves(const json& report) {
    if (!report.contains("training") || report["training"]["by_epoch"].empty()) return {};
    Series loss{.label = "loss", .points = {}};
    Series area{.label = "held-out average precision", .points = {}};
    double most = 0.0;
    for (const auto& epoch : report["training"]["by_epoch"]) {
        const auto at = static_cast<double>(loss.points.size() + 1);
        loss.points.emplace_back(at, epoch["loss"].get<double>());
        most = std::max(most, loss.points.back().second);
        if (const auto& value = epoch["held_out_mean_average_precision"]; value.is_number())
            area.points.emplace_back(at, value.get<double>());
    }
    const Axis epochs{.label = "epoch", .low = 1.0, .high = static_cast<double>(loss.points.size())};
    auto html = "<h2>Training</h2><div class='pictures'>" +
                line_chart("Loss", epochs, {.label = "loss", .low = 0.0, .high = most}, {&loss, 1});
    if (!area.points.empty())
        html += line_chart("Held-out recordings", epochs, {.label = "class-mean average precision"}, {&area, 1});
    return html + "</div>\n";
}

std::string score_pictures(const json& curves) {
    Series bins{.label = "scores", .points = {}, .has_dots = true};
    for (const auto& bin : curves["reliability"])
        if (bin["count"].get<int>() > 0)
            bins.points.emplace_back(bin["mean_score"].get<double>(), bin["share_present"].get<double>());
    const std::vector<Series> lines = {bins, {.label = "ideal", .points = {{0.0, 0.0}, {1.0, 1.0}}}};
    std::vector<Series> counts;
    for (const auto* side : {"present", "absent"}) {
        Series series{.label = side, .points = {}};
        for (const auto& value : curves["scores"][side])
            series.points.emplace_back(static_cast<double>(series.points.size()), value.get<double>());
        counts.push_back(std::move(series));
    }
    return "<h2>Scores</h2><div class='pictures'>" +
           line_chart("Reliability", {.label = "mean score of a bin"}, {.label = "share that is present"}, lines) +
           histogram("Scores of clips with and without the class", "score", counts) + "</div>\n";
}

std::string class_curves(const json& curves) {
    std::string html = "<h2>Precision over recall</h2><div class='pictures'>";
    for (const auto& [code, points] : curves["precision_over_recall"].items()) {
        if (points.empty()) continue;
        Series curve{.label = code, .points = {}};
        for (const auto& point : points) curve.points.emplace_back(point[0].get<double>(), point[1].get<double>());
        html += line_chart(code, {.label = "recall"}, {.label = "precision"}, {&curve, 1});
    }
    return html + "</div>\n";
}

std::string co_occurrence_map(const json& curves) {
    const auto codes = curves["co_occurrence"]["codes"].get<std::vector<std::string>>();
    const auto clips = curves["co_occurrence"]["clips"].get<std::vector<int>>();
    return "<h2>Classes in the same clip</h2>" +
           heat_map("shade: share of the row's clips that hold the column's class, too", codes, clips);
}

std::string mistakes(std::span<const ShownMistake> shown) {
    if (shown.empty()) return {};
    std::string html = "<h2>The worst mistakes</h2><div class='pictures'>";
    for (const auto& mistake : shown)
        html += fmt::format(
            "<figure>{}<figcaption><b>{}</b> {}: score {:.3f}, threshold {:.3f}<br>{}</figcaption></figure>\n",
            grey_picture(mistake.features, mistake.mels, mistake.frames, mistake.item), escape_markup(mistake.code),
            mistake.is_present ? "missed" : "found where it is not", mistake.score, mistake.threshold,
            escape_markup(mistake.item));
    return html + "</div>\n";
}

std::string left_out(const json& report) {
    if (!report.contains("left_out") || report["left_out"]["count"] == 0) return {};
    auto html = fmt::format("<h2>Left out: {}</h2><table><tr><th>what</th><th>why</th></tr>\n",
                            report["left_out"]["count"].get<long long>());
    for (const auto& item : report["left_out"]["items"])
        html += fmt::format("<tr>{}{}</tr>\n", cell(text_of(item, "item")), cell(text_of(item, "reason")));
    return html + "</table>\n";
}

std::string settings(const json& report) {
    std::string html;
    for (const auto* key : {"training", "thresholds"}) {
        if (!report.contains(key)) continue;
        auto part = report[key];
        part.erase("by_epoch");
        html += fmt::format("<h2>{}</h2><pre>{}</pre>\n", key,
                            escape_markup(part.dump(2, ' ', false, json::error_handler_t::replace)));
    }
    return html;
}

void write_file(const std::filesystem::path& path, const std::string& text) {
    auto beside = path;
    beside += ".part";
    std::ofstream file(beside, std::ios::binary);
    file << text;
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(beside, path, error);
    if (!file || error)
        throw std::runtime_error(
            fmt::format("{}: cannot be written ({})", path.string(), error ? error.message() : std::strerror(errno)));
}

}  // namespace

std::string html_report(const ReportPage& page) {
    return fmt::format(
               "<!DOCTYPE html>\n<html lang='en'><head><meta "
               "charset='utf-8'><title>{0}</title><style>{1}</style></head>"
               "<body>\n<h1>{0}</h1>\n",
               escape_markup(page.title), kStyle) +
           page.introduction + overview(page.evaluation) + "<h2>Classes</h2>" + class_table(page.evaluation) +
           "<p><small>In brackets: the middle 95 % over resamples of the recordings.</small></p>\n" +
           event_table(page.evaluation) + training_curves(page.report) + score_pictures(page.curves) +
           class_curves(page.curves) + co_occurrence_map(page.curves) + mistakes(page.mistakes) +
           left_out(page.report) + settings(page.report) + "</body></html>\n";
}

void write_report(const std::filesystem::path& path, const ReportPage& page) {
    auto numbers = page.report;
    numbers["curves"] = page.curves;
    numbers["mistakes"] = json::array();
    for (const auto& mistake : page.mistakes)
        numbers["mistakes"].push_back({{"item", mistake.item},
                                       {"code", mistake.code},
                                       {"score", mistake.score},
                                       {"threshold", mistake.threshold},
                                       {"present", mistake.is_present}});
    write_file(path, html_report(page));
    auto beside = path;
    write_file(beside.replace_extension(".json"), numbers.dump(2, ' ', false, json::error_handler_t::replace) + '\n');
}

}  // namespace chorus
