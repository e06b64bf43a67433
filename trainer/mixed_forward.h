#pragma once
// A batch's way through the network, mixed as drawn. Includes LibTorch: only for .cpp files.

#include "model/mobilenet_v3.h"
#include "trainer/batches.h"
#include "trainer/training.h"

namespace chorus {

/// What the loss compares: both [rows, classes].
struct Outcome {
    torch::Tensor logits;
    torch::Tensor targets;
};

/// What the head is given of a batch of windows, or of embeddings where they are frozen.
torch::Tensor embed(MobileNetV3& network, const torch::Tensor& input, Freeze freeze);

/// Draws lambdas, partners, layer and weights, those of the other processes' rows too: `batch` is this process's part.
/// Frozen embeddings know no windows: mixup is done at the embedding, too.
Outcome mixed_forward(MobileNetV3& network, const Batch& batch, const TrainingOptions& options,
                      const ProcessGroup& processes, Mixing mixing, Random& random);

}  // namespace chorus
