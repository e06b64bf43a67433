#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <iostream>
#include <span>
#include <stdexcept>
#include <vector>

#include "daemon/commands.h"
#include "daemon/config.h"
#include "model/classifier.h"

namespace chorus {

namespace {

// Scores a window of silence: the memory is there before sound comes, and weights that are no numbers show.
void warm_up(Classifier& classifier, const Bundle& bundle) {
    const std::vector<float> silence(bundle.front_end.feature_size());
    const std::span<const float> window(silence);
    std::vector<float> scores(classifier.classes());
    classifier.score({&window, 1}, scores);
    if (!std::all_of(scores.begin(), scores.end(), [](float score) { return std::isfinite(score); }))
        throw std::runtime_error("the model gives scores that are no numbers");
}

}  // namespace

std::unique_ptr<Classifier> open_classifier(const std::filesystem::path& path, const Bundle& bundle,
                                            const ClassifierOptions& options) {
    try {
        auto classifier = make_classifier(bundle, options);
        warm_up(*classifier, bundle);
        return classifier;
    } catch (...) {
        std::throw_with_nested(std::runtime_error(path.string()));
    }
}

int check_configuration(const std::filesystem::path& config) {
    const auto station = load_station(config);
    for (const auto& warning : station.config.warnings) std::cerr << warning << '\n';
    const auto say = [](const std::string& line) { std::cerr << line << '\n'; };
    const auto classifier = open_classifier(station.config.bundle, station.bundle,
                                            {.device = station.config.device,
                                             .precision = station.config.precision,
                                             .max_batch = station.config.max_batch,
                                             .on_fault = say});
    std::cout << fmt::format("{}: ok: station {}, {} source(s), model {} ({}, {} classes) on {}\n", config.string(),
                             station.config.station, station.config.sources.size(), station.bundle.id,
                             to_string(station.bundle.architecture), station.bundle.labels.size(),
                             classifier->description());
    return EXIT_SUCCESS;
}

}  // namespace chorus
