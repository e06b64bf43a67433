#pragma once
// Weights known by formula, so that a golden file need only hold what a network makes of them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/mobilenet_v3.h"

namespace chorus {

/// As uniform() of make_network_golden.py.
inline std::vector<double> uniform(std::string_view key, std::size_t count) {
    std::uint32_t seed = 2166136261U;
    for (const char c : key) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619U;
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        auto x = static_cast<std::uint32_t>(i) * 2654435769U + seed;
        x ^= x >> 16;
        x *= 0x7FEB352DU;
        x ^= x >> 15;
        x *= 0x846CA68BU;
        x ^= x >> 16;
        values[i] = x / 2147483648.0 - 1;
    }
    return values;
}

/// As formula() of make_network_golden.py.
inline std::vector<float> formula_values(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const auto size : shape) count *= static_cast<std::size_t>(size);
    double fan_in = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) fan_in *= static_cast<double>(shape[i]);
    double offset = 0;
    double scale = 0.1;
    if (name.ends_with("running_var")) {
        offset = 1;
        scale = 0.5;
    } else if (shape.size() >= 2) {
        scale = std::sqrt(6 / fan_in);
    } else if (name.ends_with("weight")) {
        offset = 1;
        scale = 0.25;
    }
    std::vector<float> values;
    for (const double value : uniform(name, count)) values.push_back(static_cast<float>(offset + scale * value));
    return values;
}

inline std::map<std::string, StoredTensor> formula_weights(Architecture architecture, int classes,
                                                           TensorType type = TensorType::kFloat32) {
    auto tensors = store_weights(MobileNetV3(MobileNetOptions{.architecture = architecture, .classes = classes}), type);
    for (auto& [name, tensor] : tensors) {
        if (tensor.type != TensorType::kInt64)
            tensor = to_stored(formula_values(name, tensor.shape), tensor.shape, type);
    }
    return tensors;
}

inline std::vector<float> formula_input(std::size_t count) {
    std::vector<float> values;
    for (const double value : uniform("input", count)) values.push_back(static_cast<float>(0.5 + 0.5 * value));
    return values;
}

}  // namespace chorus
