#include "trainer/feature_store.h"

#include <c10/util/Half.h>

namespace chorus {

std::vector<std::uint16_t> to_halves(std::span<const float> features) {
    std::vector<std::uint16_t> halves;
    halves.reserve(features.size());
    for (const float value : features) halves.push_back(c10::Half(value).x);
    return halves;
}

void FeatureStore::get(std::size_t row, std::span<float> features) const {
    const auto* in = rows_[row].features.get();
    for (std::size_t i = 0; i < features.size(); ++i) features[i] = c10::Half(in[i], c10::Half::from_bits());
}

}  // namespace chorus
