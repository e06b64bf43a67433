#include "trainer/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "trainer/comparison.h"
#include "trainer/durable_file.h"
#include "trainer/layouts.h"
#include "trainer/mixing.h"
#include "trainer/run_lock.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

using nlohmann::json;

/// What words stand for.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"parts", "none,mixup,manifold,multimix,mixup+manifold,mixup+multimix,manifold+multimix,mix2"},
    {"probabilities",
     "mix2,mix2:mixing.mixup=0.5:mixing.manifold=0.25,mix2:mixing.multimix=0.5:mixing.manifold=0.25,"
     "mix2:mixing.mixup=1:mixing.manifold=1:mixing.multimix=1,mix2:mixing.step_share=0.25,mix2:mixing.step_share=0.75,"
     "mix2:mixing.step_share=1"},
    {"imbalance",
     "mix2,mix2:loss.kind=focal,mix2:loss.kind=asymmetric,mix2:training.sampling=balanced,"
     "mix2:training.sampling=class-aware,mix2:loss.class_weights=inverse-frequency,"
     "mix2:loss.class_weights=effective-number"},
};

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
        const auto end = std::min(text.find(separator, begin), text.size());
        parts.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

ComparedMethod parse_one(std::string_view text) {
    const auto parts = split(text, ':');
    if (!parse_method(parts.front()))
        throw std::invalid_argument(
            fmt::format("method '{}' is none of none, mixup, manifold, multimix, some of these "
                        "joined by +, mix2, parts, probabilities and imbalance",
                        parts.front()));
    ComparedMethod method{.name = std::string(text), .settings = {{"mixing.method", std::string(parts.front())}}};
    for (const auto part : std::span(parts).subspan(1)) {
        const auto equals = part.find('=');
        if (equals == part.npos)
            throw std::invalid_argument(fmt::format("method '{}': '{}' is not KEY=VALUE", text, part));
        method.settings.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
    return method;
}

struct Run {
    std::string method;
    FitOptions options;
    json description;  // of all that decides what comes out
    std::filesystem::path result;
};

/// Of all that the configuration can change but for where features are kept and how often checkpoints are. Of sounds it
/// has the names and labels alone.
json description_of(const FitOptions& options, const std::string& manifest_hash) {
    const auto& p = options.front_end;
    const auto& t = options.thresholds;
    const auto& g = options.groups;
    return {{"training", describe(options.training)},
            {"front_end", {p.sample_rate_hz, p.window_seconds, p.n_fft, p.hop, p.mels, p.f_min_hz, p.f_max_hz}},
            {"thresholds", {to_string(t.rule), t.beta, t.precision, t.prior_positives}},
            {"groups", {g.frequent, g.common, g.frequent_share, g.common_share}},
            {"background", options.background.string()},
            {"device", options.training.device},
            {"threads", options.training.threads},
            {"data", manifest_hash}};
}

std::string file_name_of(const std::string& method, std::uint64_t seed) {
    auto name = method;
    for (auto& c : name)
        if (std::string_view("/\\:=").find(c) != std::string_view::npos) c = '_';
    return fmt::format("{}-{}", name, seed);
}

FitOptions options_of(const CompareOptions& options, const ComparedMethod& method) {
    auto settings = options.settings;
    settings.insert(settings.end(), method.settings.begin(), method.settings.end());
    Configuration configuration{.fit = options.fit, .retrain = {}};
    read_configuration(options.config, settings, configuration);
    auto& fit = configuration.fit;
    validate(fit.front_end);
    validate(fit.training);
    return fit;
}

std::vector<Run> plan(const CompareOptions& options) {
    std::vector<Run> runs;
    DataOptions of_data;
    double of_window = 0.0;
    std::string manifest_hash;
    for (int i = 0; i < options.seeds; ++i) {
        for (const auto& method : options.methods) {
            Run run{.method = method.name, .options = options_of(options, method), .description = {}, .result = {}};
            auto& fit = run.options;
            fit.training.seed += static_cast<std::uint64_t>(i);
            fit.resamples = 0;  // the spread is that of the seeds
            fit.resume = Resume::kAlways;
            if (fit.data.cache.empty()) fit.data.cache = options.out / "features";
            if (manifest_hash.empty() || of_data != fit.data || of_window != fit.front_end.window_seconds) {
                of_data = fit.data;
                of_window = fit.front_end.window_seconds;
                manifest_hash = read_dataset(fit.dataset, of_data, of_window).manifest_hash;
            }
            run.description = description_of(fit, manifest_hash);
            const auto name = file_name_of(method.name, fit.training.seed);
            fit.out = options.out / (name + ".safetensors");
            run.result = options.out / (name + ".json");
            runs.push_back(std::move(run));
        }
    }
    return runs;
}

/// What an earlier call has left of it.
std::optional<json> finished(const Run& run) {
    if (!std::filesystem::exists(run.result)) return std::nullopt;
    const auto known = json::parse(read_text(run.result), nullptr, false);
    if (!known.is_object() || !known.contains("options") || known["options"] != run.description)
        throw std::runtime_error(fmt::format("{}: is of a training with other options or data", run.result.string()));
    return known;
}

void write_text_durably(const std::filesystem::path& path, const std::string& text) {
    replace_file(path, std::as_bytes(std::span(text)));
}

std::string dump(const json& value) {
    return value.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

/// Of all that are done.
json write_table(const std::filesystem::path& folder, const std::vector<Run>& runs,
                 const std::vector<std::optional<json>>& results) {
    std::string part = "held_out";
    for (const auto& result : results)
        if (result && !result->at("report").at("test").is_null()) part = "test";
    std::vector<ComparedRun> compared;
    for (std::size_t i = 0; i < results.size(); ++i) {
        if (!results[i] || results[i]->at("report").at(part).is_null()) continue;
        compared.push_back({.method = runs[i].method,
                            .seed = runs[i].options.training.seed,
                            .evaluation = results[i]->at("report").at(part)});
    }
    auto table = comparison_table(compared);
    table["clips_of"] = part;
    write_text_durably(folder / "comparison.json", dump(table));
    write_text_durably(folder / "comparison.md", to_markdown(table));
    return table;
}

}  // namespace

std::vector<ComparedMethod> parse_methods(std::string_view text) {
    std::vector<ComparedMethod> methods;
    const auto add = [&](std::string_view one) {
        auto method = parse_one(one);
        if (std::none_of(methods.begin(), methods.end(), [&](const auto& known) { return known.name == method.name; }))
            methods.push_back(std::move(method));
    };
    for (const auto part : split(text, ',')) {
        const auto word =
            std::find_if(std::begin(kWords), std::end(kWords), [&](const auto& known) { return known.first == part; });
        if (word == std::end(kWords))
            add(part);
        else
            for (const auto one : split(word->second, ',')) add(one);
    }
    return methods;
}

void validate(const CompareOptions& options) {
    for (const auto& method : options.methods) options_of(options, method);
}

json compare(const CompareOptions& options, Progress& progress) {
    validate(options);
    std::filesystem::create_directories(options.out);
    const auto runs = plan(options);
    std::vector<std::optional<json>> results;
    for (const auto& run : runs) results.push_back(finished(run));
    std::vector<std::string> failures;
    for (std::size_t i = 0; i < runs.size(); ++i) {
        if (results[i]) continue;
        const auto& run = runs[i];
        fmt::print(stderr, "{}, seed {} ({} of {})\n", run.method, run.options.training.seed, i + 1, runs.size());
        try {
            const RunLock lock(std::filesystem::path(run.result).replace_extension(".lock"));
            results[i] = json{{"options", run.description}, {"report", fit(run.options, progress)}};
        } catch (const Interrupted&) {
            throw;
        } catch (const std::exception& error) {
            // One method that diverges is no reason to do without the others.
            failures.push_back(fmt::format("{}, seed {}: {}", run.method, run.options.training.seed, error.what()));
            fmt::print(stderr, "{}\n", failures.back());
            continue;
        }
        write_text_durably(run.result, dump(*results[i]));
        write_table(options.out, runs, results);
    }
    if (!failures.empty())
        throw std::runtime_error(
            fmt::format("{} of {} trainings failed; the first: {}", failures.size(), runs.size(), failures.front()));
    return write_table(options.out, runs, results);
}

}  // namespace chorus
