#pragma once
// The loop that fits a network to features.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "trainer/augmentation.h"
#include "trainer/evaluation.h"
#include "trainer/feature_store.h"
#include "trainer/mixing.h"

namespace chorus {

/// Defaults that differ from Mix2's (epochs 100, batch 128, learning rate 0.01, batch-norm momentum 0.01) are for short
/// runs.
struct TrainingOptions {
    Architecture architecture = Architecture::kMobileNetV3Large;
    int epochs = 60;
    int batch = 64;  // the last, partial batch of an epoch is dropped
    std::uint64_t seed = 1;
    double learning_rate = 0.003;  // AdamW; epoch e of E runs at rate * 0.5 * (1 + cos(pi e / E))
    double weight_decay = 1e-6;
    double batch_norm_momentum = 0.1;
    int threads = 1;  // weights are the same bits for the same number of threads
    TensorType precision = TensorType::kFloat16;
    MixingParameters mixing;
    AugmentationParameters augmentation;
};

/// Rows of `features` and of `targets` [rows, classes] are the same clips.
struct TrainingData {
    const FeatureStore& features;
    std::span<const std::uint8_t> targets;
    std::size_t classes = 0;
    std::span<const std::size_t> training;    // rows
    std::span<const std::size_t> validation;  // rows; may be empty
};

struct EpochReport {
    int epoch = 0;  // from 1
    double loss = 0.0;
    std::optional<double> validation_mean_average_precision;
};

struct TrainingProgress {
    std::size_t samples_done = 0;
    std::size_t samples_in_all = 0;
    double loss = 0.0;                             // of the last step
    std::optional<double> mean_average_precision;  // of the last validated epoch
};
using OnTrainingProgress = std::function<void(const TrainingProgress&)>;

struct TrainedNetwork {
    std::map<std::string, StoredTensor> tensors;  // of the best epoch
    int best_epoch = 0;
    std::vector<EpochReport> epochs;
    double seconds_in_steps = 0.0;
    std::size_t samples = 0;
};

/// Minimises binary cross-entropy on logits and returns the epoch with the best class-mean average precision on the
/// validation rows (the last epoch without any). Same seed, data and number of threads: the same bits on the CPU.
/// Throws std::invalid_argument for options that make no sense and std::runtime_error when there is nothing to train
/// on or the loss stops being a number.
TrainedNetwork train(const TrainingData& data, const TrainingOptions& options,
                     const OnTrainingProgress& on_progress = {});

/// Throws std::invalid_argument naming the first option that makes no sense.
void validate(const TrainingOptions& options);

}  // namespace chorus
