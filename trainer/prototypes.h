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
/// and sigmoid(-3) unless they lie too close together for half precision; between and beyond them the logit is that of
/// linear discriminant analysis. Its covariance within the two groups is shrunk, as few clips tell little: each
/// dimension's variance half way to the median over dimensions, what goes on between dimensions by as much as it is
/// uncertain (Schaefer and Strimmer 2005), so that with many clips directions in which other species vary weigh little.
/// embeddings: [clips, size]; present: [clips]. Nothing where all clips hold the class, or none.
std::optional<HeadRow> prototype_row(std::span<const float> embeddings, std::size_t size,
                                     std::span<const std::uint8_t> present);

}  // namespace chorus
