#pragma once
// Features made up for the loop that fits a network, and options by which a step takes milliseconds.

#include <memory>
#include <span>
#include <vector>

#include "trainer/training.h"

namespace chorus {

inline constexpr std::size_t kClasses = 3;
inline constexpr std::size_t kTraining = 24;
inline constexpr std::size_t kValidation = 8;

/// Small enough for a step to take milliseconds: 32 x 32 values.
inline FrontEndParameters small_windows() {
    FrontEndParameters parameters;
    parameters.window_seconds = 1.0;
    parameters.hop = 512;
    parameters.mels = 32;
    return parameters;
}

/// Windows of noise; a class is a brighter band of mels.
inline FeatureStore made_up_features(std::size_t count, std::span<const std::uint8_t> targets, std::uint64_t seed) {
    Random random(seed);
    FeatureStore store(small_windows());
    std::vector<float> window(small_windows().feature_size());
    const auto frames = static_cast<std::size_t>(store.frames());
    for (std::size_t row = 0; row < count; ++row) {
        for (auto& value : window) value = static_cast<float>(0.3 * random.uniform());
        for (std::size_t c = 0; c < kClasses; ++c)
            if (!targets.empty() && targets[row * kClasses + c] != 0)
                for (std::size_t i = (8 * c + 4) * frames; i < (8 * c + 8) * frames; ++i) window[i] += 0.6F;
        const auto halves = std::make_shared<std::vector<std::uint16_t>>(to_halves(window));
        store.add({halves, halves->data()}, {.lowest_db = -100.0F, .highest_db = 0.0F});
    }
    return store;
}

class MadeUpTraining {
  protected:
    MadeUpTraining() {
        Random random(11);
        for (std::size_t i = 0; i < (kTraining + kValidation) * kClasses; ++i)
            targets_.push_back(random.uniform() < 0.4 ? 1 : 0);
        features_ = made_up_features(kTraining + kValidation, targets_, 12);
        for (std::size_t row = 0; row < kTraining; ++row) training_.push_back(row);
        for (std::size_t row = kTraining; row < kTraining + kValidation; ++row) validation_.push_back(row);
    }

    static TrainingOptions quick_options() {
        TrainingOptions options;
        options.architecture = Architecture::kMobileNetV3Small;
        options.batch = 8;
        options.epochs = 1;
        options.mixing.plain_epochs_first = 0;
        options.mixing.step_share = 1.0;
        options.device = "cpu";
        options.precision = TensorType::kFloat32;
        return options;
    }

    TrainingData data(const FeatureStore* background = nullptr) const {
        return {.features = features_,
                .targets = targets_,
                .classes = kClasses,
                .training = training_,
                .validation = validation_,
                .background = background};
    }

    std::vector<std::uint8_t> targets_;
    FeatureStore features_{small_windows()};
    std::vector<std::size_t> training_;
    std::vector<std::size_t> validation_;
};

}  // namespace chorus
