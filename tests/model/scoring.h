#pragma once
// Bundles and windows known by formula, and their scores.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "model/bundle.h"
#include "model/classifier.h"
#include "tests/model/formula_weights.h"

namespace chorus {

inline Bundle formula_bundle(Architecture architecture, TensorType type = TensorType::kFloat32) {
    Bundle bundle;
    bundle.architecture = architecture;
    bundle.labels = {{.code = "A", .name = {}, .group = {}},
                     {.code = "B", .name = {}, .group = {}},
                     {.code = "C", .name = {}, .group = {}}};
    bundle.thresholds = {0.5F, 0.5F, 0.5F};
    bundle.tensors = formula_weights(bundle.architecture, 3, type);
    return bundle;
}

inline Bundle small_bundle(TensorType type = TensorType::kFloat32) {
    return formula_bundle(Architecture::kMobileNetV3Small, type);
}

inline std::vector<std::vector<float>> windows_of(const Bundle& bundle, std::size_t count) {
    const auto size = bundle.front_end.feature_size();
    const auto all = formula_input(size * count);
    std::vector<std::vector<float>> windows;
    for (std::size_t i = 0; i < count; ++i) {
        windows.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(i * size),
                             all.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
    }
    return windows;
}

inline std::vector<float> score(Classifier& classifier, std::span<const std::vector<float>> windows) {
    std::vector<std::span<const float>> spans(windows.begin(), windows.end());
    std::vector<float> scores(windows.size() * classifier.classes());
    classifier.score(spans, scores);
    return scores;
}

/// By how much two lists of scores differ at most.
inline double apart(std::span<const float> scores, std::span<const float> wanted) {
    double most = scores.size() == wanted.size() ? 0 : 1;
    for (std::size_t i = 0; i < std::min(scores.size(), wanted.size()); ++i)
        most = std::max(most, std::abs(double{scores[i]} - double{wanted[i]}));
    return most;
}

}  // namespace chorus
