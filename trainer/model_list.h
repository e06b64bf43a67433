#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace chorus {

/// The bundles of a folder (*.safetensors), by name: id, architecture, classes, when and from what it was made, its
/// macro F1, and whether the link `current` points at it. One that can't be used stands there with its error.
/// Throws std::runtime_error for a folder that can't be read.
nlohmann::json list_models(const std::filesystem::path& folder);

}  // namespace chorus
