#include "trainer/model_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "model/bundle.h"

namespace chorus {
namespace {

using nlohmann::json;

json describe(const std::filesystem::path& path) {
    json entry = {{"file", path.string()}};
    try {
        const auto bundle = read_bundle(path);
        entry["id"] = bundle.id;
        entry["architecture"] = to_string(bundle.architecture);
        entry["classes"] = bundle.labels.size();
        entry["created"] = bundle.created;
        entry["parent"] = bundle.parent;
        entry["dataset_hash"] = bundle.dataset_hash;
        const auto metrics = json::parse(bundle.metrics, nullptr, false);
        for (const auto* part : {"held_out", "test"}) {
            if (metrics.is_object() && metrics.contains(part) && metrics[part].is_object())
                entry["macro_f1"][part] = metrics[part].value("macro_f1", json());
        }
    } catch (const std::exception& error) {
        entry["error"] = error.what();
    }
    return entry;
}

}  // namespace

json list_models(const std::filesystem::path& folder) {
    std::error_code error;
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
        if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    if (error) throw std::runtime_error(fmt::format("{}: {}", folder.string(), error.message()));
    std::sort(files.begin(), files.end());

    const auto current = std::filesystem::canonical(folder / "current", error);
    json models = json::array();
    for (const auto& file : files) {
        auto entry = describe(file);
        entry["current"] = !current.empty() && std::filesystem::equivalent(file, current, error);
        models.push_back(std::move(entry));
    }
    return models;
}

}  // namespace chorus
