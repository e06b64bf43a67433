#include "trainer/evaluation.h"

#include <gmock/gmock.h>

#include <cmath>

namespace chorus {
namespace {

/// One class.
ScoreTable single(std::vector<float> scores, std::vector<std::uint8_t> targets) {
    return {.classes = 1, .scores = std::move(scores), .targets = std::move(targets)};
}

/// 200 clips of 3 classes, the same numbers as the Python that computed the goldens below drew:
///   x = 12345; for each clip, class: u = next(), v = next() of x = (1103515245 x + 12345) mod 2^31, over 2^31;
///   target = u < (0.3, 0.1, 0.05)[class]; score = round(50 (0.35 target + 0.65 v)) / 50
ScoreTable golden_table() {
    constexpr double kShare[] = {0.3, 0.1, 0.05};
    std::uint64_t x = 12345;
    const auto next = [&] {
        x = (1103515245 * x + 12345) % (1ULL << 31);
        return static_cast<double>(x) / static_cast<double>(1ULL << 31);
    };
    ScoreTable table{.classes = 3, .scores = {}, .targets = {}};
    for (int i = 0; i < 600; ++i) {
        const double u = next();
        const double v = next();
        const int target = u < kShare[i % 3] ? 1 : 0;
        table.targets.push_back(static_cast<std::uint8_t>(target));
        table.scores.push_back(static_cast<float>(std::nearbyint((0.35 * target + 0.65 * v) * 50.0) / 50.0));
    }
    return table;
}

TEST(CountHits, CountsAScoreAtItsThresholdAsAHit) {
    const ScoreTable table{
        .classes = 2, .scores = {0.5F, 0.2F, 0.49F, 0.9F, 0.7F, 0.3F}, .targets = {1, 0, 1, 0, 0, 1}};
    const auto counts = count_hits(table, std::vector{0.5F, 0.3F});
    EXPECT_EQ(counts[0].true_positives, 1);
    EXPECT_EQ(counts[0].false_positives, 1);
    EXPECT_EQ(counts[0].false_negatives, 1);
    EXPECT_EQ(counts[1].true_positives, 1);
    EXPECT_EQ(counts[1].false_positives, 1);
    EXPECT_EQ(counts[1].false_negatives, 0);
    EXPECT_EQ(counts[0].support(), 2);
}

TEST(F1, MatchesHandComputedNumbers) {
    const Counts counts{.true_positives = 6, .false_positives = 2, .false_negatives = 4};
    EXPECT_DOUBLE_EQ(precision(counts), 0.75);
    EXPECT_DOUBLE_EQ(recall(counts), 0.6);
    EXPECT_DOUBLE_EQ(f1(counts), 2.0 * 0.75 * 0.6 / (0.75 + 0.6));
}

TEST(FBeta, WeighsRecallByItsBeta) {
    const Counts counts{.true_positives = 6, .false_positives = 2, .false_negatives = 4};
    EXPECT_DOUBLE_EQ(f_beta(counts, 1.0), f1(counts));
    EXPECT_DOUBLE_EQ(f_beta(counts, 2.0), 5.0 * 0.75 * 0.6 / (4.0 * 0.75 + 0.6));
    EXPECT_NEAR(f_beta(counts, 1e-6), precision(counts), 1e-9);
    EXPECT_NEAR(f_beta(counts, 1e6), recall(counts), 1e-9);
}

TEST(F1, IsZeroWhereNothingIsThereOrFound) {
    EXPECT_EQ(f1({}), 0.0);
    EXPECT_EQ(precision({}), 0.0);
    EXPECT_EQ(recall({}), 0.0);
    EXPECT_EQ(f1({.true_positives = 0, .false_positives = 3, .false_negatives = 0}), 0.0);
}

TEST(MacroF1, CountsClassesWithoutPositivesOnlyWhenAskedTo) {
    const std::vector<Counts> counts = {{.true_positives = 1, .false_positives = 0, .false_negatives = 0},
                                        {},
                                        {.true_positives = 1, .false_positives = 2, .false_negatives = 0}};
    EXPECT_DOUBLE_EQ(macro_f1(counts, ClassSet::kAll), 0.5);
    EXPECT_DOUBLE_EQ(macro_f1(counts, ClassSet::kWithPositives), 0.75);
    EXPECT_EQ(macro_f1(std::vector<Counts>(3), ClassSet::kWithPositives), 0.0);
}

TEST(AveragePrecision, MatchesHandComputedNumbers) {
    EXPECT_DOUBLE_EQ(average_precision(single({0.9F, 0.8F, 0.7F, 0.6F}, {1, 0, 1, 0}), 0).value(),
                     0.5 * 1.0 + 0.5 * 2.0 / 3.0);
    EXPECT_DOUBLE_EQ(average_precision(single({0.1F, 0.2F, 0.3F}, {0, 0, 1}), 0).value(), 1.0);
    EXPECT_DOUBLE_EQ(average_precision(single({0.5F, 0.5F, 0.5F, 0.5F}, {0, 0, 1, 0}), 0).value(), 0.25);
    EXPECT_FALSE(average_precision(single({0.5F, 0.4F}, {0, 0}), 0).has_value());
}

TEST(Evaluation, AgreesWithScikitLearn) {
    const auto table = golden_table();
    const auto counts = count_hits(table, std::vector(3, 0.5F));
    constexpr int kSupport[] = {57, 24, 11};
    constexpr double kAveragePrecision[] = {0.7951716214534563, 0.7143226932422452, 0.5697321122374552};
    constexpr double kF1[] = {0.631578947368421, 0.4222222222222222, 0.273972602739726};
    for (std::size_t c = 0; c < 3; ++c) {
        EXPECT_EQ(counts[c].support(), kSupport[c]);
        EXPECT_NEAR(average_precision(table, c).value(), kAveragePrecision[c], 1e-12);
        EXPECT_NEAR(f1(counts[c]), kF1[c], 1e-12);
    }
    EXPECT_NEAR(mean_average_precision(table), (0.7951716214534563 + 0.7143226932422452 + 0.5697321122374552) / 3.0,
                1e-12);
}

}  // namespace
}  // namespace chorus
