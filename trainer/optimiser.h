#pragma once
// AdamW over what learns of a network, and its state as a checkpoint keeps it. Includes LibTorch: only for .cpp files.

#include <map>
#include <string>
#include <vector>

#include "model/mobilenet_v3.h"
#include "trainer/training.h"

namespace chorus {

/// All that learns but for idle biases: AdamW makes steps of full length out of gradients that are rounding alone, so
/// that these would wander, and differently on every machine.
std::vector<torch::optim::OptimizerParamGroup> parameter_groups(MobileNetV3& network, const TrainingOptions& options);

/// "NAME/mean", "NAME/square" and "NAME/steps" of each parameter that has been updated.
std::map<std::string, StoredTensor> store_optimiser(const MobileNetV3& network, torch::optim::AdamW& optimiser);
/// Throws std::runtime_error naming a tensor of another size.
void load_optimiser(const std::map<std::string, StoredTensor>& stored, const MobileNetV3& network,
                    torch::optim::AdamW& optimiser);

}  // namespace chorus
