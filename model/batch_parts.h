#pragma once
// Batches of which several processes have a part each. Includes LibTorch: only for .cpp files.

#include <torch/torch.h>

#include <functional>

namespace chorus {

struct BatchNorm;

struct BatchParts {
    int count;  // parts, of as many rows each
    /// The sum of such tensors over all parts, in each of them.
    std::function<torch::Tensor(const torch::Tensor& of_part)> add_up;
};

/// batch_norm(input) by the statistics of the whole batch, norm.parts, [batch, channels, height, width] on any device
/// and of any type. Gradients of weight and bias are those of this part, the input's those of all.
torch::Tensor normalise_part(const torch::Tensor& input, const BatchNorm& norm);

}  // namespace chorus
