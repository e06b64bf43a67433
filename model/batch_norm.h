#pragma once
// Batch normalisation and the activation behind it as one step of training. Includes LibTorch: only for .cpp files.

#include <torch/torch.h>

#include "model/batch_parts.h"
#include "model/mobilenet_v3_layers.h"

namespace chorus {

struct BatchNorm {
    torch::Tensor weight;  // [channels], as the others
    torch::Tensor bias;
    torch::Tensor running_mean;  // followed, as LibTorch's batch_norm does
    torch::Tensor running_var;
    double momentum;
    const BatchParts* parts = nullptr;  // lives as long as the graph; null: the batch is whole
};

/// activation(batch_norm(input)) by the statistics of the whole batch, [batch, channels, height, width] of float32 on
/// the CPU, channels last. The same as LibTorch's functions one after the other, but three passes over memory forward
/// and five back in place of seven to eight each, and only the input is kept for the way back. The same bits whatever
/// the number of threads. activation: not kHardsigmoid.
torch::Tensor normalise_and_activate(const torch::Tensor& input, const BatchNorm& norm, Activation activation);

}  // namespace chorus
