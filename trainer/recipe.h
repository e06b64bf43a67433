#pragma once
// The parts of a training recipe that need no network: learning rate over time, which clips a step takes, how much each
// class weighs.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/random.h"

namespace chorus {

enum class Schedule {
    kCosineByEpoch,  // rate * 0.5 * (1 + cos(pi e / E)), e the epoch from 0 and E their number: Mix2's
    kCosineByStep,   // the same, smoothly from step to step
    kConstant,
};

struct LearningRate {
    double rate = 0.003;
    Schedule schedule = Schedule::kCosineByEpoch;
    double warm_up_epochs = 0.0;  // step s of the first S = warm_up_epochs * steps runs at (s + 1) / S of its rate

    /// Of a step, counted from 0 over all epochs.
    double at(std::int64_t step, std::int64_t steps_an_epoch, int epochs) const;
};

enum class Sampling {
    kPlain,       // every clip once an epoch, in random order
    kBalanced,    // a clip's chance goes with the largest repeat factor max(1, sqrt(0.1 / share)) of its classes, share
                  // being the class's of all clips (as LVIS does, arXiv 1908.03195)
    kClassAware,  // a class is drawn evenly, then one of its clips; clips without any class count as one class
};

/// targets: [rows, classes], 0 or 1; rows: those to draw from. Returns as many as there are in `rows`.
std::vector<std::size_t> draw_epoch(Sampling sampling, std::span<const std::uint8_t> targets, std::size_t classes,
                                    std::span<const std::size_t> rows, Random& random);

/// What kBalanced draws by, a weight a row.
std::vector<double> repeat_factors(std::span<const std::uint8_t> targets, std::size_t classes,
                                   std::span<const std::size_t> rows);

enum class ClassWeights {
    kNone,
    kInverseFrequency,  // (N - n) / n for n positives of N clips, at most `most`
    kEffectiveNumber,   // (1 - beta) / (1 - beta^n) (arXiv 1901.05555), scaled to mean 1 over classes with positives
};

/// The weight of each class's positives; 1 for a class without any.
std::vector<float> positive_weights(ClassWeights weights, std::span<const int> positives, std::size_t clips,
                                    double beta, double most);

std::string to_string(Schedule schedule);     // "cosine", "cosine-by-step", "constant"
std::string to_string(Sampling sampling);     // "plain", "balanced", "class-aware"
std::string to_string(ClassWeights weights);  // "none", "inverse-frequency", "effective-number"

}  // namespace chorus
