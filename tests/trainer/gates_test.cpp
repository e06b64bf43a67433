#include "trainer/gates.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "trainer/random.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Two known classes that the candidate finds a little better.
Comparison better() {
    return {.classes = {{.code = "A", .positives = 40, .current_f1 = 0.6, .candidate_f1 = 0.7},
                        {.code = "B", .positives = 40, .current_f1 = 0.6, .candidate_f1 = 0.7}},
            .macro = {.current_f1 = 0.6, .candidate_f1 = 0.7},
            .noise = {.hours = 2.0, .current_events = 4, .candidate_events = 4}};
}

TEST(Gates, PromoteACandidateThatIsBetter) {
    const auto decision = decide(better(), {});
    EXPECT_TRUE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre("macro F1 0.600 -> 0.700"));
}

TEST(Gates, RefuseACandidateThatIsNoBetter) {
    auto comparison = better();
    comparison.macro.candidate_f1 = comparison.macro.current_f1;
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre("macro F1 does not rise: 0.600 -> 0.600"));
}

TEST(Gates, LetNewClassesCostALittleMacroF1ButNotMuch) {
    auto comparison = better();
    comparison.classes.push_back({.code = "C", .positives = 1, .is_new = true, .candidate_f1 = 0.5});
    comparison.macro.candidate_f1 = 0.59;
    EXPECT_THAT(decide(comparison, {}).reasons, ElementsAre("macro F1 0.600 -> 0.590", "new classes: C"));
    comparison.macro.fall_share = 0.95;
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre("macro: F1 0.600 -> 0.590, by more than 0.05 in 95 % of the resamples"));
}

TEST(Gates, TakeNoCodeForANewClassThatIsNotFound) {
    auto comparison = better();
    comparison.macro.candidate_f1 = 0.59;
    comparison.classes.push_back({.code = "C", .positives = 0, .is_new = true, .candidate_f1 = 0.0});
    comparison.classes.push_back({.code = "D", .positives = 12, .is_new = true, .candidate_f1 = 0.0});
    EXPECT_THAT(decide(comparison, {}).reasons, ElementsAre("macro F1 does not rise: 0.600 -> 0.590"));
    comparison.macro.candidate_f1 = 0.61;
    EXPECT_THAT(decide(comparison, {}).reasons, ElementsAre("macro F1 0.600 -> 0.610"));
}

TEST(Gates, LetNewClassesHideNoFallOfTheKnownOnes) {
    auto comparison = better();
    comparison.classes.push_back({.code = "C", .positives = 12, .is_new = true, .candidate_f1 = 0.9});
    comparison.known_classes = {.current_f1 = 0.6, .candidate_f1 = 0.56};
    EXPECT_TRUE(decide(comparison, {}).promote);
    comparison.known_classes->fall_share = 0.95;
    EXPECT_THAT(
        decide(comparison, {}).reasons,
        ElementsAre("macro of the known classes: F1 0.600 -> 0.560, by more than 0.05 in 95 % of the resamples"));
    comparison.known_classes = {.current_f1 = 0.6, .candidate_f1 = 0.5, .fall_share = 0.6};
    EXPECT_THAT(decide(comparison, {}).reasons,
                ElementsAre("macro F1 of the known classes: 0.600 -> 0.500, by more than 0.05"));
}

TEST(Gates, RefuseWhatFallsByTheLabelsOfTheLastDecision) {
    auto comparison = better();
    comparison.earlier = {.macro = {.current_f1 = 0.6, .candidate_f1 = 0.5, .fall_share = 0.9},
                          .classes = {{.code = "A", .positives = 40, .current_f1 = 0.6, .candidate_f1 = 0.5}}};
    EXPECT_TRUE(decide(comparison, {}).promote) << "no more than the certainty asked for";
    comparison.earlier->macro.fall_share = 0.95;
    comparison.earlier->classes[0].fall_share = 0.97;
    const std::string by = "by the labels of the last decision, ";
    EXPECT_THAT(decide(comparison, {}).reasons,
                ElementsAre(by + "macro: F1 0.600 -> 0.500, by more than 0.05 in 95 % of the resamples",
                            by + "A: F1 0.600 -> 0.500, by more than 0.05 in 97 % of the resamples"));
}

TEST(Gates, NameWhatNothingJudged) {
    auto comparison = better();
    comparison.not_judged = {"C", "D"};
    EXPECT_THAT(decide(comparison, {}).reasons,
                ElementsAre("macro F1 0.600 -> 0.700", "not judged, as no held-out clip holds them: C, D"));
    EXPECT_EQ(describe(comparison)["not_judged"], nlohmann::json({"C", "D"}));
}

TEST(Gates, RefuseAClassThatSurelyFallsHoweverMuchTheOthersGain) {
    auto comparison = better();
    comparison.classes[1].candidate_f1 = 0.4;
    comparison.classes[1].fall_share = 0.97;
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre("B: F1 0.600 -> 0.400, by more than 0.05 in 97 % of the resamples"));
}

TEST(Gates, PutUpWithAFallThatMayBeChance) {
    auto comparison = better();
    comparison.classes[1].fall_share = 0.9;
    EXPECT_TRUE(decide(comparison, {}).promote) << "no more than the certainty asked for";
    EXPECT_FALSE(decide(comparison, {.certainty = 0.5}).promote);
}

TEST(Gates, PassOverClassesWithFewPositivesAndNewOnes) {
    auto comparison = better();
    comparison.classes[1].fall_share = 1.0;
    comparison.classes[1].positives = 9;
    EXPECT_TRUE(decide(comparison, {}).promote);
    EXPECT_FALSE(decide(comparison, {.min_positives = 9}).promote);
    comparison.classes[1].positives = 40;
    comparison.classes[1].is_new = true;
    EXPECT_TRUE(decide(comparison, {}).promote);
}

TEST(Gates, RefuseMoreFalseEventsThanBothLimitsAllow) {
    auto comparison = better();
    comparison.noise.candidate_events = 5;
    EXPECT_TRUE(decide(comparison, {}).promote) << "4 at 2 an hour, 5 at 1.25 times the current model's";
    comparison.noise.candidate_events = 6;
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre("false events in 2.00 h of noise: 4 -> 6, 5 are put up with"));
    EXPECT_TRUE(decide(comparison, {.noise_limit = 3.0}).promote);
    EXPECT_TRUE(decide(comparison, {.noise_rise = 1.5}).promote);
}

TEST(Gates, PutUpWithOneEventInAMinuteOfNoise) {
    auto comparison = better();
    comparison.noise = {.hours = 0.02, .current_events = 0, .candidate_events = 1};
    EXPECT_TRUE(decide(comparison, {}).promote);
    comparison.noise.candidate_events = 2;
    EXPECT_FALSE(decide(comparison, {}).promote);
}

TEST(Gates, SayThatThereWasNoNoise) {
    auto comparison = better();
    comparison.noise = {};
    EXPECT_THAT(decide(comparison, {}).reasons,
                ElementsAre("macro F1 0.600 -> 0.700", "no noise to count false events in"));
}

TEST(Gates, RefuseWhereNothingIsHeldOut) {
    auto comparison = better();
    for (auto& of_class : comparison.classes) of_class.positives = 0;
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, ElementsAre(HasSubstr("nothing to judge by")));
    EXPECT_FALSE(decide({}, {}).promote);
}

TEST(Gates, SayAllThatIsWrongAtOnce) {
    auto comparison = better();
    comparison.macro.candidate_f1 = 0.1;
    for (auto& of_class : comparison.classes) of_class.fall_share = 1.0;
    comparison.noise.candidate_events = 100;
    EXPECT_EQ(decide(comparison, {}).reasons.size(), 4U);
}

/// Held-out clips of so many recordings, four clips each; recording i holds class i modulo `classes`.
struct HeldOut {
    std::size_t classes;
    GatedModel model;
    std::vector<std::uint32_t> recordings;

    /// A model finds what it looks for in a share `found` of the recordings, and looks for class `sought[c]` where it
    /// says class c.
    HeldOut(std::size_t recording_count, double found, std::vector<std::size_t> sought)
        : classes(sought.size()),
          model{.table = {.classes = classes, .scores = {}, .targets = {}},
                .thresholds = std::vector<float>(classes, 0.5F)} {
        Random random(5);
        for (std::size_t recording = 0; recording < recording_count; ++recording) {
            const bool finds = random.uniform() < found;
            for (int clip = 0; clip < 4; ++clip) {
                for (std::size_t c = 0; c < classes; ++c) {
                    model.table.targets.push_back(recording % classes == c ? 1 : 0);
                    model.table.scores.push_back(finds && recording % classes == sought[c] ? 0.9F : 0.1F);
                }
                recordings.push_back(static_cast<std::uint32_t>(recording));
            }
        }
    }
};

const std::vector<std::string> kCodes = {"A", "B", "C", "D"};

TEST(Gates, RefuseAModelTaughtByShuffledCodes) {
    const HeldOut current(80, 0.9, {0, 1, 2, 3});
    const HeldOut poisoned(80, 0.9, {0, 2, 3, 1});
    const auto comparison = compare_models(current.model, poisoned.model, kCodes, 4, current.recordings, {});
    const auto decision = decide(comparison, {});
    EXPECT_FALSE(decision.promote);
    EXPECT_THAT(decision.reasons, testing::IsSupersetOf({HasSubstr("B: F1"), HasSubstr("C: F1"), HasSubstr("D: F1"),
                                                         HasSubstr("macro F1 does not rise")}));
    EXPECT_EQ(comparison.classes[0].fall_share, 0.0);
}

TEST(Gates, SeeAClassThatVanishesBehindOthersThatGain) {
    const HeldOut current(80, 0.5, {0, 1, 2, 3});
    const HeldOut candidate(80, 1.0, {0, 1, 2, 2});
    const auto comparison = compare_models(current.model, candidate.model, kCodes, 4, current.recordings, {});
    EXPECT_GT(comparison.macro.candidate_f1, comparison.macro.current_f1);
    EXPECT_THAT(decide(comparison, {}).reasons, ElementsAre(HasSubstr("D: F1")));
}

TEST(Gates, PromoteAModelThatFindsMore) {
    const HeldOut current(80, 0.5, {0, 1, 2, 3});
    const HeldOut candidate(80, 0.9, {0, 1, 2, 3});
    const auto comparison = compare_models(current.model, candidate.model, kCodes, 4, current.recordings, {});
    EXPECT_TRUE(decide(comparison, {}).promote);
    ASSERT_TRUE(comparison.macro.difference.has_value());
    EXPECT_GT(comparison.macro.difference->low, 0.0);
    EXPECT_EQ(comparison.classes[2].positives, 80);
}

TEST(Gates, CountAClassTheCurrentModelDoesNotKnowAsNew) {
    HeldOut current(80, 0.9, {0, 1, 2, 3});
    for (std::size_t i = 3; i < current.model.table.scores.size(); i += 4) current.model.table.scores[i] = 0.0F;
    const HeldOut candidate(80, 0.9, {0, 1, 2, 3});
    const auto comparison = compare_models(current.model, candidate.model, kCodes, 3, current.recordings, {});
    EXPECT_TRUE(comparison.classes[3].is_new);
    EXPECT_EQ(comparison.classes[3].current_f1, 0.0);
    EXPECT_GT(comparison.macro.candidate_f1, comparison.macro.current_f1 + 0.2);
    EXPECT_THAT(decide(comparison, {}).reasons, testing::Contains("new classes: D"));
    ASSERT_TRUE(comparison.known_classes.has_value());
    EXPECT_EQ(comparison.known_classes->candidate_f1, comparison.known_classes->current_f1);
    EXPECT_EQ(comparison.known_classes->fall_share, 0.0);
}

TEST(Gates, CompareTheKnownClassesAloneWhereOthersAreNew) {
    HeldOut current(80, 0.9, {0, 1, 2, 3});
    for (std::size_t i = 3; i < current.model.table.scores.size(); i += 4) current.model.table.scores[i] = 0.0F;
    const HeldOut candidate(80, 0.7, {0, 1, 2, 3});
    const auto comparison = compare_models(current.model, candidate.model, kCodes, 3, current.recordings, {});
    EXPECT_GT(comparison.macro.candidate_f1, comparison.macro.current_f1) << "by the new one alone";
    double fall = 0.0;
    for (std::size_t c = 0; c < 3; ++c)
        fall += (comparison.classes[c].current_f1 - comparison.classes[c].candidate_f1) / 3.0;
    ASSERT_TRUE(comparison.known_classes.has_value());
    EXPECT_NEAR(comparison.known_classes->current_f1 - comparison.known_classes->candidate_f1, fall, 1e-12);
    EXPECT_THAT(decide(comparison, {.min_positives = 1000}).reasons, ElementsAre(HasSubstr("of the known classes")));
}

TEST(Gates, AreLessSureTheFewerRecordingsThereAre) {
    // In one of four recordings, whatever they are, the candidate misses what the current model finds.
    const auto fall_share = [](std::size_t recordings) {
        HeldOut current(recordings, 1.0, {0});
        HeldOut candidate(recordings, 1.0, {0});
        for (std::size_t row = 0; row < candidate.recordings.size(); ++row)
            if (candidate.recordings[row] % 4 == 0) candidate.model.table.scores[row] = 0.1F;
        return compare_models(current.model, candidate.model, std::vector<std::string>{"A"}, 1, current.recordings,
                              {.margin = 0.1})
            .classes[0]
            .fall_share;
    };
    EXPECT_GT(fall_share(120), 0.9);
    EXPECT_LT(fall_share(4), 0.75);
}

TEST(Gates, SayNothingOfClassesWithoutPositives) {
    HeldOut current(8, 1.0, {0, 1});
    std::fill(current.model.table.targets.begin(), current.model.table.targets.end(), std::uint8_t{0});
    const auto comparison =
        compare_models(current.model, current.model, std::vector<std::string>{"A", "B"}, 2, current.recordings, {});
    EXPECT_FALSE(comparison.classes[0].difference.has_value());
    EXPECT_FALSE(comparison.macro.difference.has_value());
    EXPECT_TRUE(describe(comparison)["classes"][0]["difference_95"].is_null());
    EXPECT_FALSE(decide(comparison, {}).promote);
}

TEST(Gates, GiveAllTheirNumbers) {
    const HeldOut current(40, 0.8, {0, 1});
    const HeldOut candidate(40, 0.9, {0, 1});
    auto comparison =
        compare_models(current.model, candidate.model, std::vector<std::string>{"A", "B"}, 1, current.recordings, {});
    comparison.noise = {.hours = 1.5, .current_events = 2, .candidate_events = 3};
    const auto numbers = describe(comparison);
    EXPECT_EQ(numbers["macro_f1"]["candidate"], comparison.macro.candidate_f1);
    EXPECT_EQ(numbers["macro_difference_95"].size(), 2U);
    EXPECT_EQ(numbers["noise"]["events"]["candidate"], 3);
    EXPECT_EQ(numbers["classes"][1]["code"], "B");
    EXPECT_EQ(numbers["classes"][1]["new"], true);
    EXPECT_EQ(numbers["classes"][0]["positives"], 80);
}

}  // namespace
}  // namespace chorus
