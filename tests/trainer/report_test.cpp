#include "trainer/report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "trainer/class_groups.h"

namespace chorus {
namespace {

using testing::ElementsAre;

/// A: found; B: no positives in the test; C: positives in the test but none in training, not found.
class EvaluationReport : public testing::Test {
  protected:
    nlohmann::json report(int resamples) {
        return evaluation_report(table_, {.codes = codes_,
                                          .thresholds = thresholds_,
                                          .training_positives = training_positives_,
                                          .groups = groups_,
                                          .recordings = recordings_,
                                          .resamples = resamples});
    }

    ScoreTable table_{.classes = 3, .scores = {0.9F, 0.1F, 0.1F, 0.2F, 0.1F, 0.1F}, .targets = {1, 0, 1, 0, 0, 0}};
    std::vector<std::string> codes_ = {"A", "B", "C"};
    std::vector<float> thresholds_ = {0.15F, 0.15F, 0.15F};
    std::vector<int> training_positives_ = {5, 5, 0};
    std::vector<std::string> groups_ = {"common", "rare", "rare"};
    std::vector<std::uint32_t> recordings_ = {0, 1};
};

TEST_F(EvaluationReport, GivesMacroF1OverItsThreeClassSets) {
    const auto of = report(0);
    EXPECT_EQ(of["class_sets"],
              nlohmann::json({{"all_classes", 3}, {"classes_with_positives", 2}, {"learnable_classes", 1}}));
    EXPECT_DOUBLE_EQ(of["macro_f1"]["at_0.5"]["all_classes"], 1.0 / 3.0);
    EXPECT_DOUBLE_EQ(of["macro_f1"]["at_0.5"]["classes_with_positives"], 0.5);
    EXPECT_DOUBLE_EQ(of["macro_f1"]["at_0.5"]["learnable_classes"], 1.0);
    EXPECT_NEAR(of["macro_f1"]["calibrated"]["learnable_classes"], 2.0 / 3.0, 1e-12);
    EXPECT_EQ(of["classes"][1]["average_precision"], nullptr);
    EXPECT_EQ(of["classes"][2]["support"], 1);
    EXPECT_EQ(of["recordings"], 2);
}

TEST_F(EvaluationReport, GivesEachGroupOverItsClassesWithPositives) {
    const auto of = report(0)["groups"];
    EXPECT_EQ(of["common"]["macro_f1"]["at_0.5"], 1.0);
    EXPECT_EQ(of["rare"]["classes_with_positives"], 1);  // C: nothing can be said of B
    EXPECT_EQ(of["rare"]["macro_f1"]["calibrated"], 0.0);
}

TEST_F(EvaluationReport, GivesIntervalsWhereThereArePositives) {
    const auto of = report(100);
    EXPECT_EQ(of["classes"][0]["average_precision_95"], nlohmann::json({1.0, 1.0}));
    EXPECT_EQ(of["classes"][0]["f1_at_0.5_95"], nlohmann::json({1.0, 1.0}));
    EXPECT_FALSE(of["classes"][1].contains("f1_95"));
    EXPECT_EQ(of["mean_average_precision_95"].size(), 2U);
    EXPECT_FALSE(report(0)["classes"][0].contains("f1_95"));
}

TEST_F(EvaluationReport, ClaimsNothingOfLearnableClassesWhenTheyAreNotKnown) {
    training_positives_.clear();
    groups_.clear();
    const auto of = report(0);
    EXPECT_FALSE(of["macro_f1"]["at_0.5"].contains("learnable_classes"));
    EXPECT_TRUE(of["groups"].empty());
}

const std::vector<std::string> kCodes = {"A", "B", "C", "D"};

TEST(ClassGroups, GoByTheShareOfTrainingClips) {
    EXPECT_THAT(class_groups(kCodes, {}, std::vector{100, 20, 19, 0}, 1000, {}),
                ElementsAre("frequent", "common", "rare", "rare"));
    EXPECT_THAT(
        class_groups(kCodes, {}, std::vector{100, 20, 19, 0}, 1000, {.frequent_share = 0.02, .common_share = 0.019}),
        ElementsAre("frequent", "frequent", "common", "rare"));
}

TEST(ClassGroups, FollowTheListsBeforeTheSharesAndTheDatasetBeforeBoth) {
    const GroupOptions options{.frequent = {"C"}, .common = {"A"}};
    EXPECT_THAT(class_groups(kCodes, {}, std::vector{100, 100, 1, 0}, 100, options),
                ElementsAre("common", "rare", "frequent", "rare"));
    EXPECT_THAT(class_groups(kCodes, {{"A", {.name = "x", .group = "endemic"}}, {"B", {.name = "y", .group = ""}}},
                             std::vector{100, 100, 1, 0}, 100, options),
                ElementsAre("endemic", "rare", "frequent", "rare"));
}

}  // namespace
}  // namespace chorus
