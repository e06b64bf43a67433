#include <fmt/format.h>

#include <exception>
#include <iostream>
#include <stdexcept>

#include "daemon/commands.h"
#include "daemon/config.h"
#include "model/classifier.h"

namespace chorus {

std::shared_ptr<const Model> open_model(const std::filesystem::path& path, Bundle bundle,
                                        const ClassifierOptions& options, std::size_t classifiers) {
    try {
        auto first = make_classifier(bundle, options);
        auto model = std::make_shared<const Model>(std::move(bundle), std::move(first), classifiers);
        model->warm_up();
        return model;
    } catch (...) {
        std::throw_with_nested(std::runtime_error(path.string()));
    }
}

int check_configuration(const std::filesystem::path& config) {
    const auto station = load_station(config);
    for (const auto& warning : station.config.warnings) std::cerr << warning << '\n';
    const auto say = [](const std::string& line) { std::cerr << line << '\n'; };
    const auto model = open_model(station.config.bundle, station.bundle,
                                  {.device = station.config.device,
                                   .precision = station.config.precision,
                                   .max_batch = station.config.max_batch,
                                   .on_fault = say},
                                  1);
    std::cout << fmt::format("{}: ok: station {}, {} source(s), model {} ({}, {} classes) on {}\n", config.string(),
                             station.config.station, station.config.sources.size(), station.bundle.id,
                             to_string(station.bundle.architecture), station.bundle.labels.size(),
                             model->description());
    return EXIT_SUCCESS;
}

}  // namespace chorus
