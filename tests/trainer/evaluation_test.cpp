#include "trainer/evaluation.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "trainer/report.h"

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

/// Class 0 has `positives` clips at 0.8 and as many absences at 0.6: its own threshold lies between. Class 1 has 100
/// of each at 0.2 and 0.1.
ScoreTable two_scales(int positives) {
    ScoreTable table{.classes = 2, .scores = {}, .targets = {}};
    for (int i = 0; i < 200; ++i) {
        const bool first = i < 2 * positives;
        const bool odd = i % 2 == 1;
        table.scores.push_back(first ? (odd ? 0.8F : 0.6F) : 0.01F);
        table.targets.push_back(first && odd);
        table.scores.push_back(odd ? 0.2F : 0.1F);
        table.targets.push_back(odd);
    }
    return table;
}

TEST(ChooseThresholds, SeparatesEachClassWhenItsPositivesAreMany) {
    const auto table = two_scales(100);
    const auto chosen = choose_thresholds(table, 0.0);
    EXPECT_GT(chosen.values[0], 0.6F);
    EXPECT_LE(chosen.values[0], 0.8F);
    EXPECT_GT(chosen.values[1], 0.1F);
    EXPECT_LE(chosen.values[1], 0.2F);
    EXPECT_DOUBLE_EQ(macro_f1(count_hits(table, chosen.values), ClassSet::kAll), 1.0);
}

TEST(ChooseThresholds, DrawsAClassToTheCommonOneTheFewerItsPositives) {
    const auto logit = [](float p) { return std::log(p / (1.0F - p)); };
    double last = 0.0;
    for (const int positives : {1, 5, 20, 100}) {
        const auto table = two_scales(positives);
        const auto own = logit(choose_thresholds(table, 0.0).values[0]);
        const auto chosen = choose_thresholds(table);
        const auto common = logit(chosen.common);
        const auto share = (logit(chosen.values[0]) - common) / (own - common);
        EXPECT_NEAR(share, positives / (positives + kThresholdPrior), 1e-3);
        EXPECT_GT(share, last);
        last = share;
    }
}

TEST(ChooseThresholds, GivesClassesWithoutPositivesTheCommonOne) {
    auto table = two_scales(100);
    for (std::size_t i = 0; i < table.targets.size(); i += 2) table.targets[i] = 0;
    const auto chosen = choose_thresholds(table);
    EXPECT_EQ(chosen.values[0], chosen.common);
    EXPECT_GT(chosen.common, 0.1F);
    EXPECT_LE(chosen.common, 0.2F);
}

TEST(ChooseThresholds, StaysAtOneHalfWithNothingToChooseOn) {
    EXPECT_THAT(choose_thresholds({.classes = 2, .scores = {}, .targets = {}}).values, testing::Each(0.5F));
    EXPECT_THAT(choose_thresholds(single({0.1F, 0.9F}, {0, 0})).values, testing::Each(0.5F));
}

TEST(EvaluationReport, GivesMacroF1OverItsThreeClassSets) {
    // A: found; B: no positives in the test; C: positives in the test but none in training, not found.
    const ScoreTable table{.classes = 3, .scores = {0.9F, 0.1F, 0.1F, 0.2F, 0.1F, 0.1F}, .targets = {1, 0, 1, 0, 0, 0}};
    const std::vector<std::string> codes = {"A", "B", "C"};
    const auto report = evaluation_report(table, codes, std::vector(3, 0.15F), std::vector{5, 5, 0});
    EXPECT_DOUBLE_EQ(report["macro_f1"]["at_0.5"]["all_classes"], 1.0 / 3.0);
    EXPECT_DOUBLE_EQ(report["macro_f1"]["at_0.5"]["classes_with_positives"], 0.5);
    EXPECT_DOUBLE_EQ(report["macro_f1"]["at_0.5"]["learnable_classes"], 1.0);
    EXPECT_NEAR(report["macro_f1"]["calibrated"]["learnable_classes"], 2.0 / 3.0, 1e-12);
    EXPECT_EQ(report["classes_with_positives"], 2);
    EXPECT_EQ(report["classes"][1]["average_precision"], nullptr);
    EXPECT_EQ(report["classes"][2]["support"], 1);
}

}  // namespace
}  // namespace chorus
