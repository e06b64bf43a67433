#include "trainer/bootstrap.h"

#include <gmock/gmock.h>

#include <cmath>

#include "trainer/random.h"

namespace chorus {
namespace {

/// One class; clips of a recording are all alike, so that a recording counts as one.
struct Sounds {
    ScoreTable table{.classes = 1, .scores = {}, .targets = {}};
    std::vector<std::uint32_t> recordings;

    /// Half of the recordings hold the class, and of those a share `found` scores above 0.5; none of the others does.
    Sounds(int count, int clips, double found) {
        Random random(4);
        for (int recording = 0; recording < count; ++recording) {
            const bool present = recording % 2 == 0;
            const float score = present && random.uniform() < found ? 0.9F : 0.1F;
            for (int clip = 0; clip < clips; ++clip) {
                table.targets.push_back(present ? 1 : 0);
                table.scores.push_back(score);
                recordings.push_back(static_cast<std::uint32_t>(recording));
            }
        }
    }
};

const std::vector<float> kHalf = {0.5F};

TEST(Bootstrap, GivesRecallTheWidthOfABinomialOverRecordings) {
    const Sounds few(200, 1, 0.8);
    const auto recall_of_clips = recall(count_hits(few.table, kHalf)[0]);
    const auto interval = bootstrap(few.table, few.recordings, kHalf, 2000).classes[0]->recall;
    const double deviation = std::sqrt(recall_of_clips * (1 - recall_of_clips) / 100);
    EXPECT_NEAR(interval.low, recall_of_clips - 1.96 * deviation, 0.02);
    EXPECT_NEAR(interval.high, recall_of_clips + 1.96 * deviation, 0.02);

    // Ten clips a recording say no more than one.
    const Sounds many(200, 10, 0.8);
    const auto of_many = bootstrap(many.table, many.recordings, kHalf, 2000).classes[0]->recall;
    EXPECT_DOUBLE_EQ(of_many.low, interval.low);
    EXPECT_DOUBLE_EQ(of_many.high, interval.high);
}

TEST(Bootstrap, IsAsSureAsCanBeOfPerfectScores) {
    const Sounds sounds(20, 3, 1.0);
    const auto intervals = bootstrap(sounds.table, sounds.recordings, kHalf, 200);
    ASSERT_TRUE(intervals.classes[0].has_value());
    EXPECT_EQ(intervals.classes[0]->f1.low, 1.0);
    EXPECT_EQ(intervals.classes[0]->precision.high, 1.0);
    EXPECT_EQ(intervals.classes[0]->average_precision.low, 1.0);
    EXPECT_EQ(intervals.macro_f1.low, 1.0);
    EXPECT_EQ(intervals.mean_average_precision.low, 1.0);
}

TEST(Bootstrap, HoldsTheFiguresOfTheWholeTable) {
    Random random(9);
    ScoreTable table{.classes = 2, .scores = {}, .targets = {}};
    std::vector<std::uint32_t> recordings;
    for (std::uint32_t row = 0; row < 300; ++row) {
        recordings.push_back(row / 3);
        for (int c = 0; c < 2; ++c) {
            const bool present = random.uniform() < 0.3;
            table.targets.push_back(present ? 1 : 0);
            table.scores.push_back(static_cast<float>(0.3 * present + std::floor(random.uniform() * 20) / 30));
        }
    }
    const std::vector thresholds = {0.5F, 0.4F};
    const auto intervals = bootstrap(table, recordings, thresholds, 200);
    const auto counts = count_hits(table, thresholds);
    const auto holds = [](const Interval& interval, double value) {
        EXPECT_LT(interval.low, value);
        EXPECT_GT(interval.high, value);
        EXPECT_LT(interval.high - interval.low, 0.3);
    };
    for (std::size_t c = 0; c < 2; ++c) {
        holds(intervals.classes[c]->precision, precision(counts[c]));
        holds(intervals.classes[c]->recall, recall(counts[c]));
        holds(intervals.classes[c]->f1, f1(counts[c]));
        holds(intervals.classes[c]->average_precision, average_precision(table, c).value());
    }
    holds(intervals.macro_f1, macro_f1(counts, ClassSet::kAll));
    holds(intervals.mean_average_precision, mean_average_precision(table));
}

TEST(Bootstrap, KnowsNothingOfAClassWithoutPositives) {
    ScoreTable table{.classes = 1, .scores = {0.9F, 0.1F}, .targets = {0, 0}};
    EXPECT_FALSE(bootstrap(table, std::vector<std::uint32_t>{0, 1}, kHalf, 200).classes[0].has_value());
    table.scores.clear();
    table.targets.clear();
    EXPECT_EQ(bootstrap(table, {}, kHalf, 200).classes.size(), 1U);
}

/// Every resample, computed from a table in which each recording stands as often as it was drawn.
TEST(Bootstrap, GivesWhatATableOfTheDrawnClipsWouldGive) {
    Random random(3);
    ScoreTable table{.classes = 1, .scores = {}, .targets = {}};
    std::vector<std::uint32_t> recordings;
    for (std::uint32_t row = 0; row < 60; ++row) {
        recordings.push_back(row / 4);
        table.targets.push_back(random.uniform() < 0.4);
        table.scores.push_back(static_cast<float>(std::floor(random.uniform() * 8) / 8));
    }
    Random draws(77);
    std::vector<std::size_t> drawn(15);
    for (auto& recording : drawn) recording = draws.below(15);
    ScoreTable repeated{.classes = 1, .scores = {}, .targets = {}};
    for (const auto recording : drawn) {
        for (std::size_t row = 4 * recording; row < 4 * recording + 4; ++row) {
            repeated.targets.push_back(table.targets[row]);
            repeated.scores.push_back(table.scores[row]);
        }
    }
    const auto once = bootstrap(table, recordings, kHalf, 1, 77).classes[0].value();
    const auto counts = count_hits(repeated, kHalf)[0];
    EXPECT_DOUBLE_EQ(once.precision.low, precision(counts));
    EXPECT_DOUBLE_EQ(once.recall.low, recall(counts));
    EXPECT_DOUBLE_EQ(once.f1.high, f1(counts));
    EXPECT_NEAR(once.average_precision.low, average_precision(repeated, 0).value(), 1e-12);
}

TEST(F1Differences, AreNothingBetweenAModelAndItself) {
    const Sounds sounds(30, 2, 0.7);
    const auto differences = f1_differences(sounds.table, kHalf, sounds.table, kHalf, sounds.recordings, 100);
    EXPECT_THAT(differences.classes.at(0), testing::AllOf(testing::SizeIs(100), testing::Each(0.0)));
    EXPECT_THAT(differences.macro, testing::Each(0.0));
}

TEST(F1Differences, OfPairedDrawsVaryLessThanEachFigureAlone) {
    const Sounds first(60, 2, 0.5);
    auto second = first;
    for (std::size_t row = 0; row < 20; ++row)
        if (second.table.targets[row] != 0) second.table.scores[row] = 0.9F;
    const auto differences = f1_differences(first.table, kHalf, second.table, kHalf, first.recordings, 1000);
    const auto middle = middle_of(differences.classes[0]).value();
    const auto alone = bootstrap(first.table, first.recordings, kHalf, 1000).classes[0]->f1;
    const double bare = f1(count_hits(second.table, kHalf)[0]) - f1(count_hits(first.table, kHalf)[0]);
    EXPECT_GE(middle.low, 0.0) << "what was found is still found, in every resample";
    EXPECT_TRUE(middle.low < bare && bare < middle.high);
    EXPECT_LT(middle.high - middle.low, alone.high - alone.low);
}

TEST(F1Differences, LeaveOutResamplesWithoutPositives) {
    // One recording of eight holds the class: it is in 66 % of the resamples.
    ScoreTable table{.classes = 1, .scores = std::vector<float>(8, 0.9F), .targets = {1, 0, 0, 0, 0, 0, 0, 0}};
    const std::vector<std::uint32_t> recordings = {0, 1, 2, 3, 4, 5, 6, 7};
    const auto differences = f1_differences(table, kHalf, table, std::vector{0.95F}, recordings, 1000);
    EXPECT_NEAR(static_cast<double>(differences.classes[0].size()), 656.0, 60.0);
    EXPECT_EQ(differences.classes[0].size(), differences.macro.size());
    EXPECT_THAT(differences.classes[0], testing::Each(testing::Lt(0.0)));
    EXPECT_FALSE(middle_of({}).has_value());
}

}  // namespace
}  // namespace chorus
