#pragma once
// What a batch that lies in parts with several processes needs of the other parts, gradients included: those of the sum
// of all processes' losses. Includes LibTorch: only for .cpp files.

#include "model/mobilenet_v3.h"
#include "trainer/process_group.h"

namespace chorus {

/// [rows, ...] of each process -> [all rows, ...] in each.
torch::Tensor gather_rows(const torch::Tensor& own, const ProcessGroup& processes);

/// From now on batch normalisation learns from all processes' rows, of which each has as many. The group must live
/// longer than the network. Nothing where the process is alone.
void synchronise_batch_norm(MobileNetV3& network, const ProcessGroup& processes);

}  // namespace chorus
