#pragma once
// trainer.toml, and what the command line says instead.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "trainer/fit.h"
#include "trainer/retrain.h"

namespace chorus {

/// A key of trainer.toml ("training.epochs") and its value as text.
using Setting = std::pair<std::string, std::string>;

struct Configuration {
    FitOptions fit;
    RetrainOptions retrain;
};

/// Reads `file` (none if empty), then lays `settings` over it, and gives `configuration` all that they hold. Throws
/// ConfigError with every fault of the file ("file:line: key: ...") or of the settings ("key: ...").
void read_configuration(const std::filesystem::path& file, const std::vector<Setting>& settings,
                        Configuration& configuration);

}  // namespace chorus
