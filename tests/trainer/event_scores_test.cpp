#include "trainer/event_scores.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace chorus {
namespace {

const WindowOptions kWindows{.window_seconds = 3.0, .hop_seconds = 1.0, .overlap_seconds = 0.5};

TEST(MatchEvents, TakesAnEventForRightWhereWindowsOfItsCallsLie) {
    const TimeSpan call[] = {{10.0, 11.0}};  // windows that hold half a second of it lie from 7.5 to 13.5 s
    const auto right = [&](double start, double end) {
        const TimeSpan event[] = {{start, end}};
        return match_events(event, call, kWindows).right_events == 1;
    };
    EXPECT_TRUE(right(8.0, 13.0));
    EXPECT_TRUE(right(7.0, 14.0));
    EXPECT_TRUE(right(7.5, 19.5)) << "half of it";
    EXPECT_FALSE(right(7.5, 19.6));
    EXPECT_FALSE(right(14.0, 17.0));
}

TEST(MatchEvents, TakesACallForFoundThatAnEventHoldsEnoughOf) {
    const auto found = [](TimeSpan call) {
        const TimeSpan event[] = {{8.0, 11.0}};
        return match_events(event, std::span(&call, 1), kWindows).found_calls == 1;
    };
    EXPECT_TRUE(found({10.5, 20.0}));
    EXPECT_FALSE(found({10.6, 20.0}));
    EXPECT_TRUE(found({10.8, 11.0})) << "all of a short one";
    EXPECT_FALSE(found({10.9, 11.1}));
    EXPECT_FALSE(found({11.0, 11.0}));
}

TEST(MatchEvents, LetsCallsShareAnEventAndEventsACall) {
    const TimeSpan calls[] = {{10.0, 10.2}, {11.0, 11.2}, {40.0, 60.0}, {90.0, 91.0}};
    const TimeSpan events[] = {{8.0, 13.0}, {40.0, 45.0}, {50.0, 55.0}, {70.0, 73.0}};
    const auto counts = match_events(events, calls, kWindows);
    EXPECT_EQ(counts.right_events, 3);
    EXPECT_EQ(counts.found_calls, 3);
    EXPECT_DOUBLE_EQ(precision(counts), 0.75);
    EXPECT_DOUBLE_EQ(recall(counts), 0.75);
    EXPECT_DOUBLE_EQ(f1(counts), 0.75);
    EXPECT_EQ(f1(match_events({}, {}, kWindows)), 0.0);
}

/// A minute with calls of two classes, and another without.
class EventReport : public testing::Test {
  protected:
    EventReport() {
        dataset_.classes = {"FROG", "TOAD"};
        const std::vector<Call> calls = {{.start_seconds = 5.0, .end_seconds = 5.7, .class_index = 0},
                                         {.start_seconds = 20.0, .end_seconds = 30.0, .class_index = 0},
                                         {.start_seconds = 22.0, .end_seconds = 22.2, .class_index = 1},
                                         {.start_seconds = 41.0, .end_seconds = 42.0, .class_index = 1}};
        for (const auto* name : {"calls.wav", "none.wav"}) {
            const auto own = std::string(name) == "calls.wav" ? calls : std::vector<Call>{};
            dataset_.labelled_channels.push_back({.audio = name, .channel = {}, .seconds = 60.0, .calls = own});
            for (auto& window : cut_windows(60.0, own, 2, kWindows))
                dataset_.clips.push_back({.audio = name,
                                          .offset_seconds = window.start_seconds,
                                          .recording = name,
                                          .start_seconds = window.start_seconds,
                                          .targets = std::move(window.targets)});
        }
        table_.classes = 2;
        for (std::size_t row = 0; row < dataset_.clips.size(); ++row) {
            rows_.push_back(row);
            for (const auto target : dataset_.clips[row].targets) {
                table_.targets.push_back(target);
                table_.scores.push_back(target != 0 ? 0.9F : 0.1F);
            }
        }
    }

    nlohmann::json report() {
        return event_report({.dataset = dataset_,
                             .rows = rows_,
                             .table = table_,
                             .classes = classes_,
                             .codes = dataset_.classes,
                             .thresholds = thresholds_},
                            kWindows);
    }

    float& score(std::size_t row, std::size_t class_index) { return table_.scores[row * 2 + class_index]; }

    Dataset dataset_;
    std::vector<std::size_t> rows_;
    ScoreTable table_;
    std::vector<std::size_t> classes_ = {0, 1};
    std::vector<float> thresholds_ = {0.5F, 0.5F};
};

TEST_F(EventReport, IsWithoutFaultForScoresWithoutFault) {
    const auto found = report();
    EXPECT_DOUBLE_EQ(found["macro_f1"].get<double>(), 1.0) << found.dump(1);
    EXPECT_DOUBLE_EQ(found["hours"].get<double>(), 2.0 / 60.0);
    EXPECT_EQ(found["classes_with_calls"], 2);
    EXPECT_EQ(found["classes"][0]["events"], 2);
    EXPECT_EQ(found["classes"][1]["calls"], 2);
    EXPECT_EQ(found["classes"][0]["wrong_events_an_hour"], 0.0);
}

TEST_F(EventReport, CountsWrongEventsAnHourAndCallsThatWereMissed) {
    score(58 + 20, 0) = 0.9F;                                          // where nothing calls
    for (std::size_t row = 36; row < 46; ++row) score(row, 1) = 0.1F;  // the second call of TOAD
    const auto found = report();
    EXPECT_DOUBLE_EQ(found["classes"][0]["precision"].get<double>(), 2.0 / 3.0);
    EXPECT_DOUBLE_EQ(found["classes"][0]["recall"].get<double>(), 1.0);
    EXPECT_DOUBLE_EQ(found["classes"][0]["wrong_events_an_hour"].get<double>(), 30.0);
    EXPECT_DOUBLE_EQ(found["classes"][1]["precision"].get<double>(), 1.0);
    EXPECT_DOUBLE_EQ(found["classes"][1]["recall"].get<double>(), 0.5);
    EXPECT_NEAR(found["macro_f1"].get<double>(), (0.8 + 2.0 / 3.0) / 2.0, 1e-12);
}

TEST_F(EventReport, FollowsTheDetectorsRule) {
    // A window below the threshold, but above 0.7 of it, doesn't end an event; alone it doesn't make one.
    score(24, 0) = 0.4F;
    score(58 + 20, 0) = 0.4F;
    EXPECT_EQ(report()["classes"][0]["events"], 2);
}

TEST_F(EventReport, IsOfTheRowsGivenAlone) {
    rows_.erase(rows_.begin(), rows_.begin() + 58);
    table_.scores.erase(table_.scores.begin(), table_.scores.begin() + 2 * 58);
    const auto found = report();
    EXPECT_EQ(found["classes_with_calls"], 0);
    EXPECT_EQ(found["macro_f1"], 0.0);
    dataset_.labelled_channels.clear();
    EXPECT_TRUE(report().is_null()) << "clips were labelled as a whole";
}

TEST_F(EventReport, FollowsTheClassesWhereverTheyAre) {
    EXPECT_EQ(take_classes(dataset_, {"NEWT", "TOAD", "FROG"}), (std::vector<std::size_t>{1, 2}));
    // The table's columns are still FROG and TOAD.
    classes_ = {2, 1};
    const auto found = report();
    EXPECT_DOUBLE_EQ(found["macro_f1"].get<double>(), 1.0) << found.dump(1);
    EXPECT_EQ(found["classes"][0]["calls"], 2);
}

}  // namespace
}  // namespace chorus
