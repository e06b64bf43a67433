#include <fmt/format.h>

#include <iostream>

#include "daemon/commands.h"
#include "daemon/config.h"
#include "model/classifier.h"

namespace chorus {

int check_configuration(const std::filesystem::path& config) {
    const auto station = load_station(config);
    const auto classifier =
        make_classifier(station.bundle, {.device = station.config.device, .threads = station.config.threads});
    std::cout << fmt::format("{}: ok: station {}, {} source(s), model {} ({}, {} classes) on {}\n", config.string(),
                             station.config.station, station.config.sources.size(), station.bundle.id,
                             to_string(station.bundle.architecture), station.bundle.labels.size(),
                             classifier->description());
    return EXIT_SUCCESS;
}

}  // namespace chorus
