#include "trainer/configuration.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "config/config_reader.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Configuration configuration_of(const std::filesystem::path& file, const std::vector<Setting>& settings = {}) {
    Configuration configuration;
    read_configuration(file, settings, configuration);
    return configuration;
}

FitOptions options_of(const std::filesystem::path& file, const std::vector<Setting>& settings = {}) {
    return configuration_of(file, settings).fit;
}

/// As the paper has it.
MixingParameters of_mix2(MixingSemantics semantics) {
    return {.shares = {.mixup = 0.25, .manifold = 0.5, .multimix = 0.25},
            .step_share = 1.0,
            .semantics = semantics,
            .manifold_layer = ManifoldLayer::kEmbedding,
            .mixup_alpha = 1.0,
            .manifold_alpha = 1.0,
            .dirichlet_alpha = 0.2,
            .multimix_samples = 0,
            .plain_epochs_first = 0,
            .plain_epochs_last = 0};
}

TEST(TrainerConfiguration, ShipsWithAFileThatHoldsTheDefaults) {
    const auto file = std::filesystem::path(CHORUS_TEST_DATA) / "../../config/trainer.toml";
    const auto shipped = options_of(file, {{"optimiser.weight_decay", "1e-6"}});
    const FitOptions defaults;
    EXPECT_EQ(describe(shipped.training), describe(defaults.training));
    EXPECT_EQ(shipped.data, defaults.data);
    EXPECT_EQ(shipped.background, defaults.background);
    EXPECT_EQ(shipped.front_end, defaults.front_end);
    EXPECT_EQ(shipped.checkpoint_seconds, defaults.checkpoint_seconds);
    EXPECT_EQ(shipped.thresholds, defaults.thresholds);
    EXPECT_EQ(shipped.groups, defaults.groups);
    EXPECT_EQ(shipped.resamples, defaults.resamples);

    const auto retrain = configuration_of(file).retrain;
    const RetrainOptions retrain_defaults;
    EXPECT_EQ(retrain.station, retrain_defaults.station);
    EXPECT_EQ(retrain.scope, retrain_defaults.scope);
    EXPECT_EQ(retrain.min_new_labels, retrain_defaults.min_new_labels);
    EXPECT_EQ(retrain.gates, retrain_defaults.gates);
    EXPECT_EQ(retrain.noise, retrain_defaults.noise);
    EXPECT_EQ(retrain.shadow_hours, retrain_defaults.shadow_hours);
    EXPECT_EQ(retrain.keep_models, retrain_defaults.keep_models);
    EXPECT_EQ(retrain.metrics, retrain_defaults.metrics);
}

TEST(TrainerConfiguration, ReproducesThePaper) {
    const auto file = std::filesystem::path(CHORUS_TEST_DATA) / "../../config/anuraset.toml";
    const auto paper = options_of(file);
    EXPECT_EQ(paper.front_end.frames(), 376);
    EXPECT_EQ(paper.front_end.mels, 128);
    // All that decides the weights, so that no default that changes can change this.
    EXPECT_EQ(describe(paper.training), nlohmann::json::parse(R"({
        "architecture": "mobilenet_v3_large", "precision": "half", "autocast": "none", "epochs": 100, "batch": 128,
        "seed": 1, "sampling": "plain", "freeze": "nothing", "batch_norm_momentum": 0.01,
        "learning_rate": 0.01, "schedule": "cosine", "warm_up_epochs": 0.0, "beta1": 0.9, "beta2": 0.999,
        "weight_decay": 1e-6, "decay_all_tensors": true, "clip_norm": 0.0, "weight_average": 0.0,
        "loss": {"kind": "bce", "focal_gamma": 2.0, "positive_gamma": 0.0, "negative_gamma": 4.0, "margin": 0.05,
                 "class_weights": "none", "effective_number_beta": 0.999, "largest_class_weight": 50.0},
        "mixing": {"mixup": 0.25, "manifold": 0.5, "multimix": 0.25, "step_share": 1.0, "semantics": "paper",
                   "manifold_layer": "embedding", "mixup_alpha": 1.0, "manifold_alpha": 1.0, "dirichlet_alpha": 0.2,
                   "multimix_samples": 0, "plain_epochs_first": 0, "plain_epochs_last": 0},
        "augmentation": {"scope": "batch", "time_shift": true, "frequency_masks": 3, "frequency_mask_width": 10,
                         "time_masks": 6, "time_mask_seconds": 0.24, "mask_fill": "zero", "gain_db": 0.0,
                         "background_share": 0.5, "background_lowest_snr_db": 0.0, "background_highest_snr_db": 20.0}
    })"));
    EXPECT_EQ(paper.groups.frequent.size(), 4U);
    EXPECT_EQ(paper.groups.common.size(), 8U);
    EXPECT_EQ(options_of(file, {{"mixing.semantics", "reference"}}).training.weight_decay, 0.01);
}

TEST(TrainerConfiguration, MixesAsTheReferenceUnlessToldOtherwise) {
    const auto mixing_of = [](const std::vector<Setting>& settings) {
        return options_of({}, settings).training.mixing;
    };
    EXPECT_EQ(mixing_of({}).manifold_layer, ManifoldLayer::kRandom);
    EXPECT_EQ(mixing_of({}).plain_epochs_first, 5);
    EXPECT_EQ(mixing_of({{"mixing.semantics", "reference"}}), of_mix2(MixingSemantics::kReference));
    const auto augmentation = options_of({}, {{"mixing.semantics", "reference"}}).training.augmentation;
    EXPECT_EQ(augmentation.mask_fill, MaskFill::kZero);
    EXPECT_EQ(augmentation.scope, AugmentationScope::kBatch);
    EXPECT_EQ(mixing_of({{"mixing.semantics", "reference"}, {"mixing.manifold_layer", "random"}}).manifold_layer,
              ManifoldLayer::kRandom);
}

TEST(TrainerConfiguration, KeepsWhatAFileNamesWhereTheCommandLineChangesTheSemantics) {
    const TemporaryFolder folder;
    const auto file = folder.make("t.toml",
                                  "[mixing]\nmanifold_layer = 'random'\nplain_epochs_first = 3\n"
                                  "[optimiser]\nweight_decay = 0.5\n");
    const auto training = options_of(file, {{"mixing.semantics", "reference"}}).training;
    EXPECT_EQ(training.mixing.manifold_layer, ManifoldLayer::kRandom);
    EXPECT_EQ(training.mixing.plain_epochs_first, 3);
    EXPECT_EQ(training.weight_decay, 0.5);
    const auto reference = folder.make("r.toml", "[mixing]\nsemantics = 'reference'\n");
    EXPECT_EQ(options_of(reference, {{"mixing.semantics", "paper"}}).training.mixing.manifold_layer,
              ManifoldLayer::kRandom);
}

TEST(TrainerConfiguration, SwitchesAugmentationOffAndOnAgain) {
    const TemporaryFolder folder;
    const auto file = folder.make("t.toml", "[augmentation]\nscope = 'none'\ngain_db = 3\n");
    EXPECT_EQ(options_of(file).training.augmentation.scope, AugmentationScope::kNone);
    const auto again = options_of(file, {{"augmentation.scope", "sample"}}).training.augmentation;
    EXPECT_EQ(again.scope, AugmentationScope::kSample);
    EXPECT_TRUE(again.time_shift);
    EXPECT_EQ(again.time_masks, 6);
    EXPECT_EQ(again.gain_db, 3.0);
}

TEST(TrainerConfiguration, SaysOnceThatTheSemanticsAreNone) {
    const TemporaryFolder folder;
    const auto file = folder.make("t.toml", "[mixing]\nsemantics = 3\n");
    try {
        options_of(file);
        FAIL();
    } catch (const ConfigError& error) {
        ASSERT_EQ(error.faults().size(), 1U);
        EXPECT_EQ(error.faults()[0].key, "mixing.semantics");
    }
}

TEST(TrainerConfiguration, LetsTheCommandLineOverrideTheFile) {
    const TemporaryFolder folder;
    const auto file = folder.make("t.toml", "[training]\nepochs = 7\nbatch = 9\n[mixing]\nmethod = 'mixup+multimix'\n");
    const auto options = options_of(
        file,
        {{"training.batch", "32"}, {"mixing.mixup", "3"}, {"loss.kind", "focal"}, {"thresholds.rule", "precision"}});
    EXPECT_EQ(options.training.epochs, 7);
    EXPECT_EQ(options.training.batch, 32);
    EXPECT_EQ(options.training.mixing.shares, (MixingShares{.mixup = 3.0, .manifold = 0.0, .multimix = 0.25}));
    EXPECT_EQ(options.training.loss.kind, LossKind::kFocal);
    EXPECT_EQ(options.thresholds.rule, ThresholdRule::kPrecision);
}

TEST(TrainerConfiguration, SaysEveryFaultWithItsPlace) {
    const TemporaryFolder folder;
    const auto file =
        folder.make("t.toml", "[training]\nepochs = -1\nepoch = 3\n[mixing]\nmethod = 'cutmix'\n[loss]\nkind = 1\n");
    EXPECT_THAT([&] { options_of(file); },
                testing::ThrowsMessage<ConfigError>(
                    AllOf(HasSubstr("t.toml:2: training.epochs: -1 must be from 0 to 100000"),
                          HasSubstr("t.toml:3: training.epoch: unknown key"), HasSubstr("t.toml:5: mixing.method: "),
                          HasSubstr("t.toml:7: loss.kind: must be a text"))));
    EXPECT_THAT(
        [&] {
            options_of({}, {{"training.epochs", "many"}});
        },
        testing::ThrowsMessage<ConfigError>("command line: training.epochs: must be a whole number"));
    EXPECT_THAT(
        [&] {
            options_of({}, {{"training.nothing", "1"}});
        },
        testing::ThrowsMessage<ConfigError>("command line: training.nothing: unknown key"));
    for (const auto* key : {"epochs", "", "a.", ".b", "a.b]", "a.b\nc"})
        EXPECT_THROW(options_of({}, {{key, "1"}}), ConfigError) << key;
    EXPECT_THROW(options_of({}, {{"loss.kind", "x\"\n[training]\nepochs = 3 #"}}), ConfigError);
}

}  // namespace
}  // namespace chorus
