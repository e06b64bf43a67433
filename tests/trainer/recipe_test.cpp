#include "trainer/recipe.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace chorus {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::FloatNear;

TEST(LearningRate, FallsAsACosineFromEpochToEpochOrStepToStep) {
    LearningRate rate{.rate = 2.0, .schedule = Schedule::kCosineByEpoch, .warm_up_epochs = 0.0};
    EXPECT_DOUBLE_EQ(rate.at(0, 10, 4), 2.0);
    EXPECT_DOUBLE_EQ(rate.at(9, 10, 4), 2.0);
    EXPECT_NEAR(rate.at(10, 10, 4), 1.0 + std::sqrt(0.5), 1e-12);
    EXPECT_NEAR(rate.at(25, 10, 4), 1.0, 1e-12);
    rate.schedule = Schedule::kCosineByStep;
    EXPECT_NEAR(rate.at(5, 10, 4), 1.0 + std::cos(3.14159265358979 / 8), 1e-12);
    rate.schedule = Schedule::kConstant;
    EXPECT_DOUBLE_EQ(rate.at(39, 10, 4), 2.0);
}

TEST(LearningRate, WarmsUpLinearly) {
    const LearningRate rate{.rate = 1.0, .schedule = Schedule::kConstant, .warm_up_epochs = 0.5};
    EXPECT_DOUBLE_EQ(rate.at(0, 8, 4), 0.25);
    EXPECT_DOUBLE_EQ(rate.at(2, 8, 4), 0.75);
    EXPECT_DOUBLE_EQ(rate.at(3, 8, 4), 1.0);
    EXPECT_DOUBLE_EQ(rate.at(31, 8, 4), 1.0);
}

/// 100 clips of two classes: 25 of the first alone, 1 of the second alone, the rest of none. Rows begin at 1.
struct Rare {
    std::vector<std::uint8_t> targets = std::vector<std::uint8_t>(101 * 2);
    std::vector<std::size_t> rows;

    Rare() {
        for (std::size_t row = 1; row <= 100; ++row) rows.push_back(row);
        for (std::size_t row = 1; row <= 25; ++row) targets[row * 2] = 1;
        targets[26 * 2 + 1] = 1;
    }

    std::map<std::string, double> shares(Sampling sampling) const {
        Random random(3);
        std::map<std::string, double> counts;
        for (int epoch = 0; epoch < 400; ++epoch)
            for (const auto row : draw_epoch(sampling, targets, 2, rows, random))
                counts[row <= 25 ? "first" : row == 26 ? "second" : "none"] += 1.0 / 40'000;
        return counts;
    }
};

TEST(Sampling, TakesEveryClipOnceWhenPlain) {
    const Rare rare;
    Random random(1);
    auto order = draw_epoch(Sampling::kPlain, rare.targets, 2, rare.rows, random);
    EXPECT_NE(order, rare.rows);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, rare.rows);
}

TEST(Sampling, DrawsClassesEvenlyWhenClassAware) {
    const auto shares = Rare().shares(Sampling::kClassAware);
    for (const auto& [name, share] : shares) EXPECT_NEAR(share, 1.0 / 3, 0.01) << name;
    EXPECT_EQ(shares.size(), 3U);
}

TEST(Sampling, RepeatsRareClassesByTheSquareRootOfTheirShareWhenBalanced) {
    const Rare rare;
    const auto factors = repeat_factors(rare.targets, 2, rare.rows);
    EXPECT_DOUBLE_EQ(factors[0], 1.0);               // a quarter of all
    EXPECT_DOUBLE_EQ(factors[25], std::sqrt(10.0));  // a hundredth of all
    EXPECT_DOUBLE_EQ(factors[99], 1.0);
    const double sum = 99.0 + std::sqrt(10.0);
    const auto shares = rare.shares(Sampling::kBalanced);
    EXPECT_NEAR(shares.at("first"), 25.0 / sum, 0.01);
    EXPECT_NEAR(shares.at("second"), std::sqrt(10.0) / sum, 0.003);
}

TEST(ClassWeights, FollowTheirFormulas) {
    const std::vector<int> positives = {50, 1, 0};
    EXPECT_THAT(positive_weights(ClassWeights::kNone, positives, 100, 0.99, 20.0), Each(1.0F));
    // (100 - 50) / 50 and 99 / 1, which is bounded.
    EXPECT_THAT(positive_weights(ClassWeights::kInverseFrequency, positives, 100, 0.99, 20.0),
                ElementsAre(1.0F, 20.0F, 1.0F));
    // 0.01 / (1 - 0.99^50) = 0.02531 and 1, divided by their mean.
    const double mean = (0.0253104 + 1.0) / 2;
    EXPECT_THAT(positive_weights(ClassWeights::kEffectiveNumber, positives, 100, 0.99, 20.0),
                ElementsAre(FloatNear(static_cast<float>(0.0253104 / mean), 1e-4F),
                            FloatNear(static_cast<float>(1.0 / mean), 1e-4F), 1.0F));
}

TEST(Random, GoesOnFromItsState) {
    Random random(5);
    random.gamma(0.3);
    const auto state = random.state();
    const auto next = random.permutation(20);
    Random other(6);
    other.restore(state);
    EXPECT_EQ(other.permutation(20), next);
    EXPECT_THROW(other.restore("no state"), std::runtime_error);
}

}  // namespace
}  // namespace chorus
