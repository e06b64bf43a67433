#include "trainer/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "trainer/paired_test.h"

namespace chorus {
namespace {

using nlohmann::json;

/// By seed.
using Values = std::map<std::uint64_t, double>;

struct Figure {
    std::string key;
    std::string title;
    json::json_pointer place;  // in an evaluation
};

/// The three that every evaluation has, then those of the groups that these have.
std::vector<Figure> figures_of(std::span<const ComparedRun> runs) {
    std::vector<Figure> figures = {
        {"macro_f1_at_0.5", "macro F1 at 0.5", json::json_pointer("/macro_f1/at_0.5/classes_with_positives")},
        {"macro_f1_calibrated", "calibrated", json::json_pointer("/macro_f1/calibrated/classes_with_positives")},
        {"mean_average_precision", "mean AP", json::json_pointer("/mean_average_precision")}};
    for (const auto* group : {"frequent", "common", "rare"}) {
        const auto place = json::json_pointer(fmt::format("/groups/{}/macro_f1/at_0.5", group));
        if (std::any_of(runs.begin(), runs.end(),
                        [&](const ComparedRun& run) { return run.evaluation.contains(place); }))
            figures.push_back({fmt::format("{}_f1_at_0.5", group), group, place});
    }
    return figures;
}

std::vector<double> plain(const Values& values) {
    std::vector<double> numbers;
    for (const auto& [seed, value] : values) numbers.push_back(value);
    return numbers;
}

json or_null(const std::optional<double>& value) {
    return value ? json(*value) : json();
}

json summary_of(const Values& values, const Values& first) {
    std::vector<double> own;
    std::vector<double> others;
    for (const auto& [seed, value] : values) {
        const auto same_seed = first.find(seed);
        if (same_seed == first.end()) continue;
        own.push_back(value);
        others.push_back(same_seed->second);
    }
    const auto all = plain(values);
    return {{"mean", mean_of(all)},
            {"spread", or_null(standard_deviation(all))},
            {"p", or_null(paired_p(own, others))},
            {"by_seed", all}};
}

std::string cell_of(const json& summary) {
    auto text = fmt::format("{:.3f}", summary.at("mean").get<double>());
    if (!summary.at("spread").is_null()) text += fmt::format(" ± {:.3f}", summary.at("spread").get<double>());
    if (!summary.at("p").is_null()) text += fmt::format(" (p {:.2g})", summary.at("p").get<double>());
    return text;
}

}  // namespace

json comparison_table(std::span<const ComparedRun> runs) {
    std::vector<std::string> methods;
    for (const auto& run : runs)
        if (std::find(methods.begin(), methods.end(), run.method) == methods.end()) methods.push_back(run.method);
    const auto figures = figures_of(runs);
    std::map<std::string, std::map<std::string, Values>> values;  // by figure and method
    for (const auto& run : runs)
        for (const auto& figure : figures)
            if (run.evaluation.contains(figure.place))
                values[figure.key][run.method][run.seed] = run.evaluation.at(figure.place).get<double>();

    json rows = json::array();
    for (const auto& method : methods) {
        json row = {{"method", method}, {"figures", json::object()}};
        json seeds = json::array();
        for (const auto& run : runs)
            if (run.method == method) seeds.push_back(run.seed);
        row["seeds"] = std::move(seeds);
        for (const auto& figure : figures) {
            auto& of_figure = values[figure.key];
            if (of_figure.contains(method))
                row["figures"][figure.key] = summary_of(of_figure.at(method), of_figure[methods.front()]);
        }
        rows.push_back(std::move(row));
    }
    json columns = json::array();
    for (const auto& figure : figures) columns.push_back({{"key", figure.key}, {"title", figure.title}});
    return {{"columns", std::move(columns)},
            {"methods", std::move(rows)},
            {"p_against", methods.empty() ? json() : json(methods.front())}};
}

std::string to_markdown(const json& table) {
    std::string text = "| method | runs |";
    std::string rule = "|---|---|";
    for (const auto& column : table.at("columns")) {
        text += fmt::format(" {} |", column.at("title").get<std::string>());
        rule += "---|";
    }
    text += '\n' + rule + '\n';
    for (const auto& row : table.at("methods")) {
        text += fmt::format("| {} | {} |", row.at("method").get<std::string>(), row.at("seeds").size());
        for (const auto& column : table.at("columns")) {
            const auto& figures = row.at("figures");
            const auto found = figures.find(column.at("key").get<std::string>());
            text += found == figures.end() ? " |" : fmt::format(" {} |", cell_of(*found));
        }
        text += '\n';
    }
    if (const auto& first = table.at("p_against"); !first.is_null())
        text += fmt::format("\nmean ± standard deviation over the runs; p: paired by seed, against {}\n",
                            first.get<std::string>());
    return text;
}

}  // namespace chorus
