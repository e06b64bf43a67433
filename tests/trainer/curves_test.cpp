#include "trainer/curves.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::Pair;

/// Two classes, four clips.
const ScoreTable kTable = {
    .classes = 2, .scores = {0.9F, 0.1F, 0.8F, 0.96F, 0.7F, 0.2F, 0.05F, 0.04F}, .targets = {1, 0, 0, 1, 1, 0, 1, 1}};

TEST(PrecisionRecallCurve, GoesFromTheHighestScoreDown) {
    EXPECT_THAT(precision_recall_curve(kTable, 0),
                ElementsAre(Pair(testing::DoubleEq(1.0 / 3.0), 1.0),
                            Pair(testing::DoubleEq(2.0 / 3.0), testing::DoubleEq(2.0 / 3.0)), Pair(1.0, 0.75)));
}

TEST(PrecisionRecallCurve, TakesEqualScoresInOneStepAndTellsNoMorePointsThanAsked) {
    const ScoreTable equal{.classes = 1, .scores = {0.5F, 0.5F, 0.5F}, .targets = {1, 0, 1}};
    EXPECT_THAT(precision_recall_curve(equal, 0), ElementsAre(Pair(1.0, testing::DoubleEq(2.0 / 3.0))));
    ScoreTable many{.classes = 1, .scores = {}, .targets = {}};
    for (int i = 0; i < 1000; ++i) {
        many.scores.push_back(static_cast<float>(i) / 1000.0F);
        many.targets.push_back(i % 3 == 0);
    }
    const auto curve = precision_recall_curve(many, 0, 20);
    EXPECT_LE(curve.size(), 21U);
    EXPECT_GE(curve.size(), 19U);
    EXPECT_EQ(precision_recall_curve({.classes = 1, .scores = {0.5F}, .targets = {0}}, 0).size(), 0U);
}

TEST(Reliability, ComparesScoresWithWhatIsThere) {
    const auto bins = reliability(kTable);
    ASSERT_EQ(bins.size(), 10U);
    EXPECT_EQ(bins[0].count, 2U);
    EXPECT_NEAR(bins[0].mean_score, 0.045, 1e-6);
    EXPECT_EQ(bins[0].share_present, 1.0);
    EXPECT_EQ(bins[9].count, 2U);
    EXPECT_EQ(bins[5].count, 0U);
    EXPECT_EQ(reliability({.classes = 1, .scores = {1.0F}, .targets = {1}})[9].count, 1U);
}

TEST(ScoreHistogram, CountsPresencesAndAbsencesApart) {
    const auto histogram = score_histogram(kTable);
    EXPECT_EQ(histogram.present[18], 1);
    EXPECT_EQ(histogram.present[19], 1);
    EXPECT_EQ(histogram.absent[16] + histogram.absent[15], 1);
    EXPECT_EQ(histogram.absent[2] + histogram.absent[4] + histogram.absent[1] + histogram.absent[3], 2);
}

TEST(CoOccurrence, CountsClipsThatHoldBoth) {
    EXPECT_THAT(co_occurrence(kTable), ElementsAre(3, 1, 1, 2));
}

TEST(WorstMistakes, AreThoseFurthestFromTheThreshold) {
    const std::vector thresholds = {0.5F, 0.5F};
    const auto worst = worst_mistakes(kTable, thresholds);
    ASSERT_EQ(worst.size(), 3U);
    EXPECT_EQ(worst[0].row, 3U);
    EXPECT_EQ(worst[0].class_index, 1U);
    EXPECT_TRUE(worst[0].is_present);
    EXPECT_EQ(worst[1].class_index, 0U);
    EXPECT_EQ(worst[1].row, 3U);
    EXPECT_EQ(worst[2].row, 1U);
    EXPECT_FALSE(worst[2].is_present);
    EXPECT_EQ(worst_mistakes(kTable, thresholds, 2).size(), 2U);
    EXPECT_EQ(worst_mistakes(kTable, thresholds, 9, 1).size(), 2U);
}

}  // namespace
}  // namespace chorus
