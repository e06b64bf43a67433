#include "trainer/prototypes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace chorus {
namespace {

constexpr double kLogit = 3.0;
constexpr double kOwnVariance = 0.5;  // against what is typical of all dimensions
constexpr double kSmallest = 1e-12;

/// Prototypes that lie too close together for the half precision of a bundle are not forced apart.
constexpr double kLargestBias = 100.0;

/// The median, which a few wild dimensions don't move; where most don't vary at all, a little of the mean.
double typical_of(std::vector<double> variances) {
    constexpr double kOfMean = 1e-3;
    const double mean =
        std::accumulate(variances.begin(), variances.end(), 0.0) / static_cast<double>(variances.size());
    const auto middle = variances.begin() + std::ssize(variances) / 2;
    std::nth_element(variances.begin(), middle, variances.end());
    return std::max(*middle, kOfMean * mean);
}

}  // namespace

std::optional<HeadRow> prototype_row(std::span<const float> embeddings, std::size_t size,
                                     std::span<const std::uint8_t> present) {
    std::array<std::vector<double>, 2> means = {std::vector<double>(size), std::vector<double>(size)};
    std::array<double, 2> counts{};
    for (std::size_t clip = 0; clip < present.size(); ++clip) {
        const auto side = static_cast<std::size_t>(present[clip] != 0);
        ++counts[side];
        for (std::size_t i = 0; i < size; ++i) means[side][i] += embeddings[clip * size + i];
    }
    if (counts[0] == 0.0 || counts[1] == 0.0) return std::nullopt;
    for (std::size_t side = 0; side < 2; ++side)
        for (auto& mean : means[side]) mean /= counts[side];

    std::vector<double> variances(size);
    for (std::size_t clip = 0; clip < present.size(); ++clip) {
        const auto& mean = means[present[clip] != 0 ? 1 : 0];
        for (std::size_t i = 0; i < size; ++i) {
            const double away = embeddings[clip * size + i] - mean[i];
            variances[i] += away * away;
        }
    }
    for (auto& variance : variances) variance /= std::max(1.0, static_cast<double>(present.size()) - 2.0);
    const double typical = typical_of(variances);

    std::vector<double> direction(size);
    double gap = 0.0;  // between the prototypes, along the direction
    for (std::size_t i = 0; i < size; ++i) {
        const double apart = means[1][i] - means[0][i];
        direction[i] = apart / (kOwnVariance * variances[i] + (1.0 - kOwnVariance) * typical + kSmallest);
        gap += direction[i] * apart;
    }
    HeadRow row{.weight = std::vector<float>(size), .bias = static_cast<float>(-kLogit)};
    if (gap <= 0.0) return row;
    double scale = 2.0 * kLogit / gap;
    double middle = 0.0;  // of the prototypes, along the direction
    for (std::size_t i = 0; i < size; ++i) middle += direction[i] * 0.5 * (means[0][i] + means[1][i]);
    if (std::abs(middle) * scale > kLargestBias) scale = kLargestBias / std::abs(middle);
    for (std::size_t i = 0; i < size; ++i) row.weight[i] = static_cast<float>(scale * direction[i]);
    row.bias = static_cast<float>(-scale * middle);
    return row;
}

}  // namespace chorus
