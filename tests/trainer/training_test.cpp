// The loop that fits a network, on features made up for it.

#include <gmock/gmock.h>

#include <functional>
#include <iterator>
#include <set>

#include "tests/trainer/made_up_training.h"
#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class Training : public testing::Test, protected MadeUpTraining {
  protected:
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
        [](auto& t) {
            t.augmentation.frequency_masks = 3;
            t.augmentation.mask_fill = MaskFill::kZero;
        },
        [](auto& t) { t.mixing.shares = parse_method("mixup").value(); },
        [](auto& t) {
            t.mixing.shares = parse_method("mixup").value();
            t.mixing.step_share = 0.3;
        },
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

TEST_F(Training, LearnsInBfloat16NearlyWhatItLearnsInFloat32) {
    auto options = quick_options();
    options.epochs = 10;
    options.device = "cpu";
    options.augmentation = {.time_shift = false, .frequency_masks = 0, .time_masks = 0};
    options.mixing.manifold_layer = ManifoldLayer::kRandom;
    options.mixing.step_share = 0.5;
    const auto losses_in = [&](Autocast autocast) {
        options.autocast = autocast;
        const auto trained = train(data(), options);
        EXPECT_EQ(trained.tensors.at("head.weight").type, TensorType::kFloat32);
        return std::pair{trained.epochs.front().loss, trained.epochs.back().loss};
    };
    const auto [first, last] = losses_in(Autocast::kNone);
    const auto [narrow_first, narrow_last] = losses_in(Autocast::kBfloat16);
    EXPECT_LT(last, 0.5 * first);
    EXPECT_NE(narrow_first, first);
    EXPECT_NEAR(narrow_first, first, 0.05);
    EXPECT_NEAR(narrow_last, last, 0.1);
}

TEST_F(Training, SaysWhichDeviceIsNotThere) {
    auto options = quick_options();
    options.device = "cuda:99";
    EXPECT_THAT([&] { weights(options); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("device \"cuda:99\": ")));
    options.device = "cpu";
    options.autocast = Autocast::kFloat16;
    EXPECT_THAT([&] { weights(options); },
                testing::ThrowsMessage<std::invalid_argument>(HasSubstr("float16 needs a GPU")));
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
