#include "trainer/checkpoint.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "trainer/durable_file.h"

namespace chorus {
namespace {

using nlohmann::json;

StoredTensor store_order(const std::vector<std::size_t>& order) {
    StoredTensor stored{.type = TensorType::kInt64, .shape = {static_cast<std::int64_t>(order.size())}, .bytes = {}};
    stored.bytes.resize(order.size() * sizeof(std::int64_t));
    std::memcpy(stored.bytes.data(), order.data(), stored.bytes.size());
    return stored;
}

std::vector<std::size_t> load_order(const StoredTensor& stored) {
    if (stored.type != TensorType::kInt64) throw std::runtime_error("order is no int64");
    std::vector<std::size_t> order(stored.bytes.size() / sizeof(std::int64_t));
    std::memcpy(order.data(), stored.bytes.data(), order.size() * sizeof(std::int64_t));
    return order;
}

constexpr std::string_view kOrder = "order";

template <typename Checkpoint>
auto parts_of(Checkpoint& checkpoint) {
    return std::array{std::pair{std::string("network/"), &checkpoint.network},
                      std::pair{std::string("average/"), &checkpoint.average},
                      std::pair{std::string("optimiser/"), &checkpoint.optimiser},
                      std::pair{std::string("best/"), &checkpoint.trained.tensors}};
}

json position_of(const Checkpoint& checkpoint) {
    json epochs = json::array();
    for (const auto& [epoch, loss, quality] : checkpoint.trained.epochs)
        epochs.push_back({epoch, loss, quality ? json(*quality) : json()});
    return {{"epoch", checkpoint.epoch},
            {"step", checkpoint.step},
            {"loss_sum", checkpoint.loss_sum},
            {"best", checkpoint.best},
            {"loss_scale", checkpoint.loss_scale},
            {"loss_scale_steps", checkpoint.loss_scale_steps},
            {"best_epoch", checkpoint.trained.best_epoch},
            {"seconds_in_steps", checkpoint.trained.seconds_in_steps},
            {"samples", checkpoint.trained.samples},
            {"epochs", std::move(epochs)}};
}

Checkpoint parse_checkpoint(std::span<const std::byte> bytes) {
    auto file = parse_safetensors(bytes);
    Checkpoint checkpoint;
    checkpoint.fingerprint = file.metadata.at("fingerprint");
    checkpoint.random = file.metadata.at("random");
    const auto position = json::parse(file.metadata.at("position"));
    position.at("epoch").get_to(checkpoint.epoch);
    position.at("step").get_to(checkpoint.step);
    position.at("loss_sum").get_to(checkpoint.loss_sum);
    position.at("best").get_to(checkpoint.best);
    position.at("loss_scale").get_to(checkpoint.loss_scale);
    position.at("loss_scale_steps").get_to(checkpoint.loss_scale_steps);
    position.at("best_epoch").get_to(checkpoint.trained.best_epoch);
    position.at("seconds_in_steps").get_to(checkpoint.trained.seconds_in_steps);
    position.at("samples").get_to(checkpoint.trained.samples);
    for (const auto& epoch : position.at("epochs")) {
        EpochReport report{.epoch = epoch.at(0), .loss = epoch.at(1), .validation_mean_average_precision = {}};
        if (!epoch.at(2).is_null()) report.validation_mean_average_precision = epoch.at(2).get<double>();
        checkpoint.trained.epochs.push_back(report);
    }
    checkpoint.order = load_order(file.tensors.at(std::string(kOrder)));
    for (auto& [name, tensor] : file.tensors)
        for (const auto& [prefix, part] : parts_of(checkpoint))
            if (name.starts_with(prefix)) part->emplace(name.substr(prefix.size()), std::move(tensor));
    return checkpoint;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
    SafetensorsFile file;
    file.metadata = {{"fingerprint", checkpoint.fingerprint},
                     {"random", checkpoint.random},
                     {"position", position_of(checkpoint).dump()}};
    file.tensors.emplace(kOrder, store_order(checkpoint.order));
    for (const auto& [prefix, part] : parts_of(checkpoint))
        for (const auto& [name, tensor] : *part) file.tensors.emplace(prefix + name, tensor);
    replace_file(path, serialise_safetensors(file));
}

std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& path, const ProcessGroup& processes) {
    std::optional<std::string> text;
    if (processes.leads()) {
        if (std::ifstream stream(path, std::ios::binary); stream)
            text.emplace(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
        else if (std::filesystem::exists(path))
            throw std::runtime_error(fmt::format("{}: cannot be read", path.string()));
    }
    processes.share(text, "the checkpoint");
    if (!text) return std::nullopt;
    try {
        return parse_checkpoint(std::as_bytes(std::span(*text)));
    } catch (const std::exception& error) {
        throw std::runtime_error(fmt::format("{}: is no checkpoint: {}", path.string(), error.what()));
    }
}

}  // namespace chorus
