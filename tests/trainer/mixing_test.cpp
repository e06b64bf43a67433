#include "trainer/mixing.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <map>
#include <set>
#include <string>
#include <utility>

namespace chorus {
namespace {

constexpr std::int64_t kBatch = 64;
constexpr std::int64_t kMels = 32;

MixingParameters with(MixingSemantics semantics) {
    MixingParameters parameters;
    parameters.semantics = semantics;
    return parameters;
}

float at(const torch::Tensor& tensor, std::int64_t row, std::int64_t column = 0) {
    return tensor.reshape({tensor.size(0), -1})[row][column].item<float>();
}

TEST(Mix2, DrawsManifoldMixupTwiceAsOftenAsTheOthers) {
    Random random(1);
    std::map<Mixing, int> drawn;
    for (int i = 0; i < 20'000; ++i)
        ++drawn[draw_mixing({.shares = parse_method("mix2").value(), .step_share = 1.0}, random)];
    EXPECT_EQ(drawn.size(), 3U);
    EXPECT_NEAR(drawn[Mixing::kManifoldMixup] / 20'000.0, 0.5, 0.015);
    EXPECT_NEAR(drawn[Mixing::kMultiMix] / 20'000.0, 0.25, 0.015);
    EXPECT_NEAR(drawn[Mixing::kMixup] / 20'000.0, 0.25, 0.015);
}

TEST(Mix2, DrawsOnlyWhatAMethodNames) {
    const std::map<std::string, std::set<Mixing>> methods = {
        {"none", {Mixing::kNone}},
        {"mixup", {Mixing::kMixup}},
        {"manifold", {Mixing::kManifoldMixup}},
        {"multimix", {Mixing::kMultiMix}},
        {"mixup+manifold", {Mixing::kMixup, Mixing::kManifoldMixup}},
        {"multimix+mixup", {Mixing::kMixup, Mixing::kMultiMix}},
        {"manifold+multimix", {Mixing::kManifoldMixup, Mixing::kMultiMix}},
        {"mixup+manifold+multimix", {Mixing::kMixup, Mixing::kManifoldMixup, Mixing::kMultiMix}},
    };
    Random random(1);
    for (const auto& [name, expected] : methods) {
        std::set<Mixing> drawn;
        for (int i = 0; i < 500; ++i)
            drawn.insert(draw_mixing({.shares = parse_method(name).value(), .step_share = 1.0}, random));
        EXPECT_EQ(drawn, expected) << name;
    }
    EXPECT_EQ(parse_method("mixup+manifold+multimix"), parse_method("mix2"));
    for (const auto* unknown : {"", "cutmix", "mixup+", "+mixup", "mixup+mixup", "mixup+mix2", "none+mixup"})
        EXPECT_FALSE(parse_method(unknown).has_value()) << unknown;
}

TEST(Mix2, DrawsByItsSharesAndLeavesStepsAlone) {
    Random random(1);
    std::map<Mixing, int> drawn;
    const MixingParameters parameters{.shares = {.mixup = 1.0, .manifold = 0.0, .multimix = 3.0}, .step_share = 0.4};
    for (int i = 0; i < 20'000; ++i) ++drawn[draw_mixing(parameters, random)];
    EXPECT_EQ(drawn.size(), 3U);
    EXPECT_NEAR(drawn[Mixing::kNone] / 20'000.0, 0.6, 0.015);
    EXPECT_NEAR(drawn[Mixing::kMixup] / 20'000.0, 0.1, 0.015);
}

TEST(Mix2, KeepsFromMixingInTheFirstAndTheLastEpochs) {
    MixingParameters parameters{.shares = {}, .plain_epochs_first = 0};
    EXPECT_TRUE(mixes_in(parameters, 0, 1));
    parameters.plain_epochs_first = 2;
    parameters.plain_epochs_last = 3;
    std::string epochs;
    for (int epoch = 0; epoch < 8; ++epoch) epochs += mixes_in(parameters, epoch, 8) ? 'm' : '-';
    EXPECT_EQ(epochs, "--mmm---");
}

TEST(PairMix, DrawsAPermutationAndLambdasOfTheBetaDistribution) {
    Random random(2);
    auto parameters = with(MixingSemantics::kPaper);
    parameters.manifold_alpha = 0.4;
    for (const auto& [mixing, alpha] : {std::pair{Mixing::kMixup, 1.0}, std::pair{Mixing::kManifoldMixup, 0.4}}) {
        const auto mix = draw_pair_mix(parameters, mixing, 20'000, kMels, random);
        EXPECT_TRUE(torch::equal(std::get<0>(mix.partner.sort()), torch::arange(20'000)));
        EXPECT_GE(mix.lambda.min().item<float>(), 0.0F);
        EXPECT_LE(mix.lambda.max().item<float>(), 1.0F);
        EXPECT_NEAR(mix.lambda.mean().item<double>(), 0.5, 0.01);
        // The variance of Beta(a, a) is 1 / (4 (2a + 1)).
        EXPECT_NEAR(mix.lambda.var().item<double>(), 0.25 / (2.0 * alpha + 1.0), 0.004);
    }
}

TEST(PairMix, MixesInputAndTargetByTheSameLambdaPerSample) {
    Random random(3);
    const auto mix = draw_pair_mix(with(MixingSemantics::kPaper), Mixing::kMixup, kBatch, kMels, random);
    ASSERT_EQ(mix.lambda.numel(), kBatch);
    EXPECT_TRUE(torch::equal(mix.lambda, mix.target_lambda));
    // Input and target hold the sample's own number, so both must come out the same.
    const auto number = torch::arange(kBatch, torch::kFloat32);
    const auto input = number.view({-1, 1, 1, 1}).expand({kBatch, 1, kMels, 5});
    const auto mixed = mix_inputs(input, mix, MixingSemantics::kPaper);
    const auto targets = mix_targets(number.unsqueeze(1), mix);
    const auto embedding = mix_hidden(number.unsqueeze(1), mix);
    for (std::int64_t i = 0; i < kBatch; ++i) {
        const float lambda = mix.lambda[i].item<float>();
        const float expected =
            lambda * static_cast<float>(i) + (1.0F - lambda) * static_cast<float>(mix.partner[i].item<std::int64_t>());
        EXPECT_NEAR(at(targets, i), expected, 1e-4);
        EXPECT_NEAR(at(embedding, i), expected, 1e-4);
        for (const auto value : {0, 7, 159}) EXPECT_NEAR(at(mixed, i, value), expected, 1e-4);
    }
}

TEST(PairMix, WeighsMelRowsAndTheMeanOfTheBatchAsTheReferenceDoes) {
    Random random(4);
    const auto mix = draw_pair_mix(with(MixingSemantics::kReference), Mixing::kMixup, kBatch, kMels, random);
    ASSERT_EQ(mix.lambda.numel(), kMels);
    ASSERT_EQ(mix.target_lambda.numel(), kBatch);
    const float mean = mix.lambda.mean().item<float>();
    const auto number = torch::arange(kBatch, torch::kFloat32);
    const auto mixed =
        mix_inputs(number.view({-1, 1, 1, 1}).expand({kBatch, 1, kMels, 5}), mix, MixingSemantics::kReference);
    const auto targets = mix_targets(number.unsqueeze(1), mix);
    for (std::int64_t i = 0; i < kBatch; ++i) {
        const auto partner = static_cast<float>(mix.partner[i].item<std::int64_t>());
        const auto own = static_cast<float>(i);
        EXPECT_NEAR(at(targets, i), mean * own + (1.0F - mean) * partner, 1e-4);
        for (std::int64_t mel = 0; mel < kMels; mel += 5) {
            const float lambda = mix.lambda[mel].item<float>();
            EXPECT_NEAR(at(mixed, i, mel * 5 + 2), lambda * own + (1.0F - lambda) * partner, 1e-4);
        }
    }
}

TEST(PairMix, MixesEmbeddingsPerSampleAndTargetsByTheMeanInTheReference) {
    Random random(5);
    const auto mix = draw_pair_mix(with(MixingSemantics::kReference), Mixing::kManifoldMixup, kBatch, kMels, random);
    EXPECT_EQ(mix.lambda.numel(), kBatch);
    EXPECT_TRUE(torch::allclose(mix.target_lambda, mix.lambda.mean().expand({kBatch})));
}

TEST(PairMix, MixesAWholeImageOfHiddenValuesByOneLambda) {
    Random random(5);
    const auto mix = draw_pair_mix(with(MixingSemantics::kPaper), Mixing::kManifoldMixup, kBatch, kMels, random);
    const auto hidden = torch::rand({kBatch, 3, 4, 5});
    const auto mixed = mix_hidden(hidden, mix);
    const auto lambda = mix.lambda.view({-1, 1, 1, 1});
    EXPECT_TRUE(torch::allclose(mixed, lambda * hidden + (1 - lambda) * hidden.index_select(0, mix.partner)));
}

TEST(Dirichlet, RowsAreWeightsThatAddUpToOne) {
    Random random(6);
    const auto weights = draw_dirichlet(200, 128, 0.2, random);
    EXPECT_GE(weights.min().item<float>(), 0.0F);
    EXPECT_TRUE(torch::allclose(weights.sum(1), torch::ones({200}), 1e-5, 1e-5));
}

TEST(Dirichlet, HasItsMeanAndVariance) {
    Random random(7);
    constexpr std::int64_t kColumns = 16;
    for (const double alpha : {0.2, 1.0}) {
        const auto weights = draw_dirichlet(20'000, kColumns, alpha, random);
        // Symmetric Dirichlet: mean 1/K, variance (1/K)(1 - 1/K) / (K alpha + 1).
        const double mean = 1.0 / kColumns;
        const double variance = mean * (1.0 - mean) / (kColumns * alpha + 1.0);
        EXPECT_TRUE(torch::allclose(weights.mean(0), torch::full({kColumns}, mean), 0.05, 0.002));
        EXPECT_TRUE(torch::allclose(weights.var(0), torch::full({kColumns}, variance), 0.06, 0.0));
    }
}

TEST(Dirichlet, StaysOneForTinyConcentrations) {
    Random random(8);
    const auto weights = draw_dirichlet(50, 8, 1e-4, random);
    EXPECT_TRUE(torch::allclose(weights.sum(1), torch::ones({50}), 1e-5, 1e-5));
}

}  // namespace
}  // namespace chorus
