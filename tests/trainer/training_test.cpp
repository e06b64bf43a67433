// The loop that fits a network, on features made up for it.

#include "trainer/training.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <set>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr std::size_t kClasses = 3;
constexpr std::size_t kTraining = 24;
constexpr std::size_t kValidation = 8;

/// Small enough for a step to take milliseconds: 32 x 32 values.
FrontEndParameters small_windows() {
    FrontEndParameters parameters;
    parameters.window_seconds = 1.0;
    parameters.hop = 512;
    parameters.mels = 32;
    return parameters;
}

/// Windows of noise; a class is a brighter band of mels.
FeatureStore made_up_features(std::size_t count, std::span<const std::uint8_t> targets, std::uint64_t seed) {
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

class Training : public testing::Test {
  protected:
    Training() {
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

    using Weights = std::map<std::string, std::vector<std::byte>>;

    static Weights weights_of(const TrainedNetwork& trained) {
        Weights weights;
        for (const auto& [name, tensor] : trained.tensors) weights[name] = tensor.bytes;
        return weights;
    }

    Weights weights(const TrainingOptions& options, const Persistence& persistence = {}) const {
        return weights_of(train(data(), options, {}, persistence));
    }

    TemporaryFolder folder_;
    std::vector<std::uint8_t> targets_;
    FeatureStore features_{small_windows()};
    std::vector<std::size_t> training_;
    std::vector<std::size_t> validation_;
};

TEST_F(Training, GivesTheSameBitsForTheSameSeed) {
    auto options = quick_options();
    options.threads = 2;
    const auto first = weights(options);
    EXPECT_EQ(first, weights(options));
    options.seed = 2;
    EXPECT_NE(first, weights(options));
}

TEST_F(Training, MixesInEveryWayAskedFor) {
    std::set<Weights> seen;
    for (const auto* method : {"none", "mixup", "manifold", "multimix"}) {
        for (const auto semantics : {MixingSemantics::kPaper, MixingSemantics::kReference}) {
            auto options = quick_options();
            options.mixing.shares = parse_method(method).value();
            options.mixing.semantics = semantics;
            seen.insert(weights(options));
        }
    }
    EXPECT_EQ(seen.size(), 6U) << "semantics matter to mixup and manifold mixup alone";
}

TEST_F(Training, TrainsOtherWeightsWithEveryOptionOfTheRecipe) {
    auto plain = quick_options();
    plain.mixing.shares = parse_method("none").value();
    plain.augmentation = {.time_shift = false, .frequency_masks = 0, .time_masks = 0};
    const auto changed = [&](const std::function<void(TrainingOptions&)>& change) {
        auto options = plain;
        change(options);
        return weights(options);
    };
    const auto unchanged = changed([](auto&) {});
    std::set<Weights> seen = {unchanged};
    const std::function<void(TrainingOptions&)> changes[] = {
        [](auto& t) { t.learning_rate.schedule = Schedule::kCosineByStep; },
        [](auto& t) { t.learning_rate.warm_up_epochs = 1.0; },
        [](auto& t) { t.weight_decay = 5.0; },
        [](auto& t) { t.beta1 = 0.5; },
        [](auto& t) { t.beta2 = 0.5; },
        [](auto& t) { t.clip_norm = 1e-6; },
        [](auto& t) { t.weight_average = 0.9; },
        [](auto& t) { t.loss.kind = LossKind::kFocal; },
        [](auto& t) { t.loss.kind = LossKind::kAsymmetric; },
        [](auto& t) { t.class_weights = ClassWeights::kInverseFrequency; },
        [](auto& t) { t.class_weights = ClassWeights::kEffectiveNumber; },
        [](auto& t) { t.sampling = Sampling::kBalanced; },
        [](auto& t) { t.sampling = Sampling::kClassAware; },
        [](auto& t) { t.augmentation.gain_db = 20.0; },
        [](auto& t) { t.augmentation.time_shift = true; },
        [](auto& t) { t.augmentation.frequency_masks = 3; },
        [](auto& t) { t.augmentation.time_masks = 3; },
        [](auto& t) { t.mixing.shares = parse_method("mixup").value(); },
        [](auto& t) { t.mixing.shares = parse_method("manifold").value(); },
        [](auto& t) {
            t.mixing.shares = parse_method("manifold").value();
            t.mixing.manifold_layer = ManifoldLayer::kEmbedding;
        },
        [](auto& t) { t.mixing.shares = parse_method("multimix").value(); },
        [](auto& t) {
            t.mixing.shares = parse_method("multimix").value();
            t.mixing.multimix_samples = 24;
        },
    };
    for (std::size_t i = 0; i < std::size(changes); ++i)
        EXPECT_TRUE(seen.insert(changed(changes[i])).second) << "option " << i;
    EXPECT_EQ(unchanged, changed([](auto& t) {
                  t.mixing.shares = parse_method("mix2").value();
                  t.mixing.plain_epochs_last = 1;
              }));
}

TEST_F(Training, MixesBackgroundsIntoItsShareOfTheClips) {
    const auto background = made_up_features(2, {}, 5);
    auto options = quick_options();
    const auto with = [&](double share) {
        options.augmentation.background_share = share;
        return weights_of(train(data(&background), options));
    };
    const auto always = with(1.0);
    EXPECT_EQ(always, with(1.0));
    EXPECT_NE(always, with(0.0));
}

TEST_F(Training, GoesOnFromACheckpointToTheSameBits) {
    const auto background = made_up_features(2, {}, 5);
    auto options = quick_options();
    options.epochs = 3;
    options.weight_average = 0.9;
    options.sampling = Sampling::kBalanced;
    options.augmentation.gain_db = 6.0;
    const auto unbroken = weights_of(train(data(&background), options));

    int stops = 0;
    int asked = 0;
    const Persistence persistence{
        .checkpoint = folder_ / "checkpoint", .resume = Resume::kAlways, .must_stop = [&] { return ++asked % 2 == 0; }};
    TrainedNetwork broken;
    for (bool done = false; !done;) {
        try {
            broken = train(data(&background), options, {}, persistence);
            done = true;
        } catch (const Interrupted&) {
            ++stops;
        }
        ASSERT_LT(stops, 20);
    }
    EXPECT_GT(stops, 3);
    EXPECT_EQ(weights_of(broken), unbroken);
}

TEST_F(Training, RefusesACheckpointOfAnotherTraining) {
    auto options = quick_options();
    Persistence persistence{.checkpoint = folder_ / "checkpoint", .must_stop = [] { return true; }};
    EXPECT_THROW(weights(options, persistence), Interrupted);
    persistence.resume = Resume::kAlways;
    persistence.must_stop = {};
    options.learning_rate.rate = 0.001;
    EXPECT_THAT([&] { weights(options, persistence); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("other options or data")));
    write_text(folder_ / "checkpoint", "no checkpoint");
    EXPECT_THAT([&] { weights(options, persistence); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("is no checkpoint")));
}

TEST_F(Training, SaysThatTheLossIsNoNumberAnyMore) {
    auto options = quick_options();
    options.epochs = 20;
    options.learning_rate = {.rate = 10.0, .schedule = Schedule::kConstant};
    features_ = FeatureStore(small_windows());
    const auto infinite = std::make_shared<std::vector<std::uint16_t>>(small_windows().feature_size(), 0x7c00);
    for (std::size_t row = 0; row < kTraining + kValidation; ++row) features_.add({infinite, infinite->data()}, {});
    EXPECT_THAT([&] { weights(options); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("the loss is no number any more in epoch 1")));
}

}  // namespace
}  // namespace chorus
