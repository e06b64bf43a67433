#include "trainer/thresholds.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace chorus {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Gt;
using testing::Le;

const ThresholdOptions kOwnAlone = {.prior_positives = 0.0};

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

/// One class whose precision grows with the threshold: at 0.3, 0.5, 0.7 and 0.9 stand 10 clips each, of which 2, 5, 8
/// and 10 hold it.
ScoreTable ever_more_precise() {
    ScoreTable table{.classes = 1, .scores = {}, .targets = {}};
    const auto add = [&](float score, int positives) {
        for (int i = 0; i < 10; ++i) {
            table.scores.push_back(score);
            table.targets.push_back(i < positives);
        }
    };
    add(0.3F, 2);
    add(0.5F, 5);
    add(0.7F, 8);
    add(0.9F, 10);
    return table;
}

TEST(ChooseThresholds, SeparatesEachClassWhenItsPositivesAreMany) {
    const auto table = two_scales(100);
    const auto chosen = choose_thresholds(table, kOwnAlone);
    EXPECT_THAT(chosen.values[0], AllOf(Gt(0.6F), Le(0.8F)));
    EXPECT_THAT(chosen.values[1], AllOf(Gt(0.1F), Le(0.2F)));
    EXPECT_DOUBLE_EQ(macro_f1(count_hits(table, chosen.values), ClassSet::kAll), 1.0);
}

TEST(ChooseThresholds, DrawsAClassToTheCommonOneTheFewerItsPositives) {
    const auto logit = [](float p) { return std::log(p / (1.0F - p)); };
    double last = 0.0;
    for (const int positives : {1, 5, 20, 100}) {
        const auto chosen = choose_thresholds(two_scales(positives));
        EXPECT_EQ(chosen.positives[0], positives);
        const auto common = logit(chosen.common);
        const auto share = (logit(chosen.values[0]) - common) / (logit(chosen.own[0]) - common);
        EXPECT_NEAR(share, positives / (positives + ThresholdOptions{}.prior_positives), 1e-3);
        EXPECT_GT(share, last);
        last = share;
    }
}

TEST(ChooseThresholds, GivesClassesWithoutPositivesTheCommonOne) {
    auto table = two_scales(100);
    for (std::size_t i = 0; i < table.targets.size(); i += 2) table.targets[i] = 0;
    for (const double prior : {0.0, 10.0}) {
        const auto chosen = choose_thresholds(table, {.prior_positives = prior});
        EXPECT_EQ(chosen.values[0], chosen.common);
        EXPECT_THAT(chosen.common, AllOf(Gt(0.1F), Le(0.2F)));
    }
}

TEST(ChooseThresholds, StaysAtOneHalfWithNothingToChooseOn) {
    EXPECT_THAT(choose_thresholds({.classes = 2, .scores = {}, .targets = {}}).values, Each(0.5F));
    EXPECT_THAT(choose_thresholds({.classes = 1, .scores = {0.1F, 0.9F}, .targets = {0, 0}}).values, Each(0.5F));
}

TEST(ChooseThresholds, PrefersAStretchOfGoodThresholdsToASingleBetterOne) {
    // Between 0.77 and 0.8 F1 is 6/7, but by one clip or two; from 0.1 to 0.75 it is 4/5.
    const ScoreTable table{.classes = 1,
                           .scores = {0.9F, 0.85F, 0.8F, 0.75F, 0.76F, 0.77F, 0.1F, 0.1F, 0.1F, 0.1F},
                           .targets = {1, 1, 1, 1, 0, 0, 0, 0, 0, 0}};
    const auto thresholds = choose_thresholds(table, kOwnAlone);
    EXPECT_THAT(thresholds.values[0], AllOf(Gt(0.2F), Le(0.6F)));
}

TEST(ChooseThresholds, GoesLowerTheMoreRecallWeighs) {
    const auto table = ever_more_precise();
    const auto chosen = [&](double beta) {
        return choose_thresholds(table, {.beta = beta, .prior_positives = 0.0}).values[0];
    };
    EXPECT_THAT(chosen(0.2), AllOf(Gt(0.7F), Le(0.9F)));
    EXPECT_THAT(chosen(1.0), AllOf(Gt(0.3F), Le(0.5F)));
    EXPECT_THAT(chosen(10.0), Le(0.3F));
}

TEST(ChooseThresholds, TakesTheMostRecallWithTheWantedPrecision) {
    const auto table = ever_more_precise();
    const auto chosen = [&](double wanted) {
        const ThresholdOptions options{.rule = ThresholdRule::kPrecision, .precision = wanted, .prior_positives = 0.0};
        return choose_thresholds(table, options).values[0];
    };
    EXPECT_THAT(chosen(1.0), AllOf(Gt(0.7F), Le(0.9F)));
    EXPECT_THAT(chosen(0.9), AllOf(Gt(0.5F), Le(0.7F)));   // 18 of 20
    EXPECT_THAT(chosen(0.75), AllOf(Gt(0.3F), Le(0.5F)));  // 23 of 30
    EXPECT_THAT(chosen(0.5), Le(0.3F));                    // 25 of 40
}

TEST(ChooseThresholds, TakesTheBestPrecisionWhereNoneIsAsWanted) {
    auto table = ever_more_precise();
    for (std::size_t i = 0; i < 5; ++i) table.targets[30 + i] = 0;  // at 0.9 now 5 of 10, at 0.7 13 of 20
    const ThresholdOptions options{.rule = ThresholdRule::kPrecision, .precision = 0.9, .prior_positives = 0.0};
    EXPECT_THAT(choose_thresholds(table, options).values[0], AllOf(Gt(0.5F), Le(0.7F)));
}

TEST(ChooseThresholds, TellsItsRuleAndItsCounts) {
    const auto table = two_scales(5);
    const auto chosen = choose_thresholds(table);
    const auto rule = describe(chosen, {});
    EXPECT_EQ(rule["rule"], "f-beta");
    EXPECT_EQ(rule["beta"], 1.0);
    EXPECT_EQ(rule["prior_positives"], 10.0);
    EXPECT_EQ(rule["held_out_positives"], nlohmann::json({5, 100}));
    EXPECT_EQ(rule["own"].size(), 2U);
    EXPECT_FALSE(rule.contains("precision"));
    EXPECT_EQ(describe(chosen, {.rule = ThresholdRule::kPrecision})["precision"], 0.9);
}

}  // namespace
}  // namespace chorus
