#include <fmt/format.h>

#include <exception>
#include <iostream>
#include <stdexcept>

#include "daemon/commands.h"
#include "daemon/config.h"
#include "model/classifier.h"

namespace chorus {

std::unique_ptr<Classifier> open_classifier(const std::filesystem::path& path, const Bundle& bundle,
                                            const ClassifierOptions& options) {
    try {
        return make_classifier(bundle, options);
    } catch (...) {
        std::throw_with_nested(std::runtime_error(path.string()));
    }
}

int check_configuration(const std::filesystem::path& config) {
    const auto station = load_station(config);
    for (const auto& warning : station.config.warnings) std::cerr << warning << '\n';
    const auto classifier = open_classifier(station.config.bundle, station.bundle, {.device = station.config.device});
    std::cout << fmt::format("{}: ok: station {}, {} source(s), model {} ({}, {} classes) on {}\n", config.string(),
                             station.config.station, station.config.sources.size(), station.bundle.id,
                             to_string(station.bundle.architecture), station.bundle.labels.size(),
                             classifier->description());
    return EXIT_SUCCESS;
}

}  // namespace chorus
