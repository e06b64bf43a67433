#pragma once
// The loop that fits a network to features.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "trainer/augmentation.h"
#include "trainer/embeddings.h"
#include "trainer/evaluation.h"
#include "trainer/feature_store.h"
#include "trainer/loss.h"
#include "trainer/mixing.h"
#include "trainer/process_group.h"
#include "trainer/recipe.h"

namespace chorus {

/// What does not learn.
enum class Freeze {
    kNothing,
    kNetwork,     // only the head learns, on embeddings as in service
    kEmbeddings,  // the same, but what comes in are embeddings, computed once: nothing is augmented, and mixup, which
                  // interpolates pairs as manifold mixup does, is done at the embedding like it
};

std::string to_string(Freeze freeze);  // "nothing", "network", "embeddings"

/// What convolutions and matrix products compute in (autocast.h); weights, mixing, statistics and losses stay float32.
enum class Autocast { kNone, kBfloat16, kFloat16 };

std::string to_string(Autocast autocast);  // "none", "bfloat16", "float16"

/// Defaults that differ from Mix2's (epochs 100, batch 128, learning rate 0.01, batch-norm momentum 0.01) are for short
/// runs.
struct TrainingOptions {
    Architecture architecture = Architecture::kMobileNetV3Large;
    int epochs = 60;  // 0: none, what it begins with is the result
    int batch = 32;   // of each process; the last, partial batch of an epoch is dropped
    std::uint64_t seed = 1;
    LearningRate learning_rate;
    double weight_decay = 1e-6;     // AdamW's
    bool decay_all_tensors = true;  // false: neither biases nor batch normalisation
    double beta1 = 0.9;
    double beta2 = 0.999;
    double clip_norm = 0.0;       // of all gradients together; 0: none
    double weight_average = 0.0;  // decay a step of the moving average that is judged and stored; 0: none
    double batch_norm_momentum = 0.1;
    LossParameters loss;
    ClassWeights class_weights = ClassWeights::kNone;
    double effective_number_beta = 0.999;
    double largest_class_weight = 50.0;
    Sampling sampling = Sampling::kPlain;
    Freeze freeze = Freeze::kNothing;
    int threads = 1;              // weights are the same bits for the same number of threads
    std::string device = "auto";  // "auto" (a GPU where there is one), "cpu" or "cuda:N"
    Autocast autocast = Autocast::kNone;
    TensorType precision = TensorType::kFloat16;
    MixingParameters mixing;
    AugmentationParameters augmentation;
};

/// All that decides the weights, but for the number of processes.
nlohmann::json describe(const TrainingOptions& options);

/// Rows of `features` and of `targets` [rows, classes] are the same clips.
struct TrainingData {
    const FeatureStore& features;
    std::span<const std::uint8_t> targets;
    std::size_t classes = 0;
    std::span<const std::size_t> training;     // rows
    std::span<const std::size_t> validation;   // rows; may be empty
    std::span<const float> soft_targets = {};  // [rows, classes], to be learned instead of `targets`, if not empty
    const std::map<std::string, StoredTensor>* beginning = nullptr;  // weights to begin with, instead of chance
    const FeatureStore* background = nullptr;  // of the same front-end, to be mixed into clips; none: none is
    const Embeddings* embeddings = nullptr;    // of `features`, for Freeze::kEmbeddings
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

/// Whether a training goes on from its checkpoint, if there is one.
enum class Resume {
    kNever,
    kAlways,     // one that is broken, or of other options or data, is an error
    kIfItCanBe,  // with such a one the training begins at its beginning, and that is said on stderr
};

/// How a training outlives its process.
struct Persistence {
    std::filesystem::path checkpoint;  // empty: none are written
    double interval_seconds = 300.0;   // between checkpoints
    Resume resume = Resume::kNever;
    std::function<bool()>
        must_stop;  // asked after every step; when true a checkpoint is written and Interrupted thrown
};

/// A training was asked to stop.
class Interrupted : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Returns the epoch with the best class-mean average precision on the validation rows (the last epoch without any).
/// Same seed, data and number of threads: the same bits on the CPU, also when stopped and resumed at any step.
/// Several processes, all of which call this with the same data and options, each compute options.batch rows of a step,
/// and all have the weights that one process has of their batches together, but for rounding. Only the leader has a
/// checkpoint; when must_stop() is true in any, all stop after the same step.
/// Throws std::invalid_argument for options that make no sense, Interrupted, ProcessLost, and std::runtime_error when
/// there is nothing to train on, the loss stops being a number, the checkpoint is of other options or data, processes
/// have different ones, or the device is not there.
TrainedNetwork train(const TrainingData& data, const TrainingOptions& options,
                     const OnTrainingProgress& on_progress = {}, const Persistence& persistence = {},
                     const ProcessGroup& processes = ProcessGroup());

/// Throws as train() does where the device is not there, or can't do what autocast asks.
void require_device(const TrainingOptions& options, const ProcessGroup& processes);

/// Throws std::invalid_argument naming the first option that makes no sense.
void validate(const TrainingOptions& options);

}  // namespace chorus
