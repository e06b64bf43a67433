#include "model/network_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "model/mobilenet_v3_layers.h"

namespace chorus {

std::vector<float> TensorReader::read(const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto& tensor = find(name, shape);
    if (tensor.type == TensorType::kInt64) {
        throw std::runtime_error(fmt::format("tensor {} is int64, the network wants a float", name));
    }
    auto values = to_float32(tensor);
    std::size_t count = 1;
    for (const auto size : shape) count *= static_cast<std::size_t>(size);
    if (values.size() != count) {
        throw std::runtime_error(fmt::format("tensor {} holds {} values", name, values.size()));
    }
    if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
        throw std::runtime_error(fmt::format("tensor {} holds what is no number", name));
    }
    return values;
}

Weights TensorReader::read_folded(const std::string& name, int out, int in, int kernel) {
    Weights weights{.out = out, .in = in * kernel * kernel, .values = {}, .bias = {}};
    weights.values = read(name + ".0.weight", {out, in, kernel, kernel});
    const auto gamma = read(name + ".1.weight", {out});
    const auto beta = read(name + ".1.bias", {out});
    const auto mean = read(name + ".1.running_mean", {out});
    const auto variance = read(name + ".1.running_var", {out});
    if (!std::ranges::all_of(variance, [](float value) { return value >= 0; })) {
        throw std::runtime_error(fmt::format("tensor {}.1.running_var holds a variance below 0", name));
    }
    const auto& batches = find(name + ".1.num_batches_tracked", {});
    if (batches.type != TensorType::kInt64) {
        throw std::runtime_error(
            fmt::format("tensor {}.1.num_batches_tracked is a float, the network wants int64", name));
    }
    const auto taps = static_cast<std::size_t>(weights.in);
    for (std::size_t o = 0; o < static_cast<std::size_t>(out); ++o) {
        const double scale = gamma[o] / std::sqrt(variance[o] + kBatchNormEpsilon);
        for (std::size_t i = o * taps; i < (o + 1) * taps; ++i) {
            weights.values[i] = static_cast<float>(weights.values[i] * scale);
        }
        weights.bias.push_back(static_cast<float>(beta[o] - mean[o] * scale));
    }
    return weights;
}

Weights TensorReader::read_plain(const std::string& name, int out, int in, int trailing) {
    std::vector<std::int64_t> shape{out, in};
    shape.insert(shape.end(), static_cast<std::size_t>(trailing), 1);
    return {.out = out, .in = in, .values = read(name + ".weight", shape), .bias = read(name + ".bias", {out})};
}

void TensorReader::expect_all_read() const {
    for (const auto& [name, tensor] : tensors_) {
        if (!known_.contains(name)) {
            throw std::runtime_error(fmt::format("tensor {} is unknown to the network", name));
        }
    }
}

const StoredTensor& TensorReader::find(const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error(fmt::format("tensor {} is missing", name));
    known_.insert(name);
    if (found->second.shape != shape) {
        throw std::runtime_error(fmt::format("tensor {} has shape [{}], the network wants [{}]", name,
                                             fmt::join(found->second.shape, ", "), fmt::join(shape, ", ")));
    }
    return found->second;
}

}  // namespace chorus
