#pragma once
// A class's row of the head from a handful of clips, without training.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace chorus {

/// logit = weight . embedding + bias
struct HeadRow {
    std::vector<float> weight;
    float bias = 0.0F;
};

/// Scores at the two prototypes, the mean embedding of clips with the class and that of those without, are sigmoid(3)
/// and sigmoid(-3) unless they lie too close together for half precision; between and beyond them the logit follows the
/// line from one to the other, each dimension divided by its variance within the two groups (half of it taken from the
/// median over dimensions, as few clips tell little). This is linear discriminant analysis with a shrunk diagonal
/// covariance. embeddings: [clips, size]; present: [clips]. Nothing where all clips hold the class, or none.
std::optional<HeadRow> prototype_row(std::span<const float> embeddings, std::size_t size,
                                     std::span<const std::uint8_t> present);

}  // namespace chorus
