#pragma once
// Many trainings that differ in their method alone, and one table of them.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/configuration.h"
#include "trainer/fit.h"
#include "trainer/progress.h"

namespace chorus {

/// How one method differs from the others: "mix2", "none", "mixup+manifold" (mixing.method), and after it any keys of
/// the configuration: "mix2:loss.kind=focal:sampling=balanced".
struct ComparedMethod {
    std::string name;  // as it was written
    std::vector<Setting> settings;
};

/// Methods separated by commas. Three words stand for several:
///   parts          no mixing, each way alone, the pairs and all three: the paper's first experiments
///   probabilities  Mix2 with other shares of its ways and with steps that don't mix
///   imbalance      Mix2 with each loss, class weight and sampling
/// Throws std::invalid_argument for what is no method; a method that comes twice counts once.
std::vector<ComparedMethod> parse_methods(std::string_view text);

struct CompareOptions {
    FitOptions fit;                 // dataset, threads, must_stop; all else comes from the configuration
    std::filesystem::path config;   // empty: none
    std::vector<Setting> settings;  // for all methods
    std::vector<ComparedMethod> methods;
    int seeds = 3;              // trainings of each method, seeds counted up from training.seed
    std::filesystem::path out;  // folder; made if there is none
};

/// Throws ConfigError or std::invalid_argument for the first method whose options make no sense.
void validate(const CompareOptions& options);

/// Trains every method with every seed by fit(), in `out`: METHOD-SEED.safetensors and beside it .json with its
/// options, and the table so far (comparison.h) as comparison.json and comparison.md after each training, from the test
/// subset, or the held-out recordings where there is none. The same call again does what is still to be done: a
/// training whose .json is of these very options and data isn't done again, an interrupted one goes on from its
/// checkpoint. Without `data.cache`, features are kept in `out`/features. Returns the table. Throws as
/// validate() does, Interrupted, and std::runtime_error where `out` holds a training of other options or data, and at
/// the end where some trainings failed.
nlohmann::json compare(const CompareOptions& options, Progress& progress);

}  // namespace chorus
