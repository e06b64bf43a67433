#include "trainer/activity.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <numeric>
#include <random>

namespace chorus {
namespace {

std::size_t cell(int month, int hour) {
    return static_cast<std::size_t>(month - 1) * 24 + static_cast<std::size_t>(hour);
}

// A year of recordings, ten times as many at night as by day. NIGHT calls from 20 h to 23 h in October and November in
// 9 of 10 recordings and else in 1 of 50; ALWAYS in 3 of 10 whenever someone records; NEVER never.
Dataset year_of_recordings() {
    std::mt19937 random(11);
    const auto chance = [&](double p) { return static_cast<double>(random()) / 4294967296.0 < p; };
    Dataset dataset;
    dataset.classes = {"NIGHT", "ALWAYS", "NEVER"};
    for (int month = 1; month <= 12; ++month) {
        for (int day = 1; day <= 28; ++day) {
            for (int hour = 0; hour < 24; ++hour) {
                const bool dark = hour >= 18 || hour < 6;
                if (!chance(dark ? 0.5 : 0.05)) continue;
                const bool calling = (month == 10 || month == 11) && hour >= 20 && hour < 23;
                const bool night = chance(calling ? 0.9 : 0.02);
                const bool always = chance(0.3);
                for (int clip = 0; clip < 2; ++clip) {
                    dataset.clips.push_back({.audio = {},
                                             .recording = fmt::format("S_2026{:02}{:02}_{:02}1500", month, day, hour),
                                             .start_seconds = 3.0 * clip,
                                             .targets = {night, always, false}});
                }
            }
        }
    }
    return dataset;
}

std::vector<std::size_t> all_rows(const Dataset& dataset) {
    std::vector<std::size_t> rows(dataset.clips.size());
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
}

class Activity : public testing::Test {
  protected:
    ActivityTable learn(const ActivityOptions& options = {}) const {
        return learn_activity(dataset_, all_rows(dataset_), options).value();
    }
    const Dataset dataset_ = year_of_recordings();
};

TEST_F(Activity, LearnsHoursAndSeasonsOfAClass) {
    const auto table = learn();
    EXPECT_EQ(table.recordings, count_dated_recordings(dataset_, all_rows(dataset_)));
    EXPECT_FALSE(table.solar);
    EXPECT_GT(table.shifts[cell(10, 21)], 2.0F);
    EXPECT_GT(table.shifts[cell(11, 21)], 2.0F);
    EXPECT_LT(table.shifts[cell(4, 21)], -0.3F) << "the same hour half a year later";
    EXPECT_LT(table.shifts[cell(10, 3)], -0.1F) << "the same month six hours later";
    EXPECT_GT(table.shifts[cell(10, 20)], table.shifts[cell(10, 18)]);
}

TEST_F(Activity, LetsRecordingEffortCancelOut) {
    const auto table = learn();
    for (std::size_t k = 0; k < ActivityTable::kCells; ++k)
        EXPECT_LT(std::abs(table.shifts[ActivityTable::kCells + k]), 0.8F) << k;
    double mean = 0;
    for (std::size_t k = 0; k < ActivityTable::kCells; ++k)
        mean += static_cast<double>(table.shifts[ActivityTable::kCells + k]) / ActivityTable::kCells;
    EXPECT_LT(std::abs(mean), 0.15);
}

TEST_F(Activity, KnowsNothingOfAClassThatWasNeverHeard) {
    const auto table = learn();
    for (std::size_t k = 0; k < ActivityTable::kCells; ++k)
        EXPECT_EQ(table.shifts[2 * ActivityTable::kCells + k], 0.0F);
}

TEST_F(Activity, IsTheFormulaOfItsHeader) {
    // One hour alone has recordings: 50 with the class, 150 without.
    Dataset dataset;
    dataset.classes = {"A"};
    for (int i = 0; i < 200; ++i) {
        dataset.clips.push_back({.audio = {},
                                 .recording = fmt::format("S_20260601_12{:02}{:02}", i / 60, i % 60),
                                 .targets = {static_cast<std::uint8_t>(i < 50)}});
    }
    const auto flat = learn_activity(dataset, all_rows(dataset), {}).value();
    for (const float shift : flat.shifts) EXPECT_EQ(shift, 0.0F) << "one hour tells nothing of others";
    // And as many at midnight without it: r = 1/8; at noon (50 + 10/8) / (200 + 10), at midnight (10/8) / 210.
    for (int i = 0; i < 200; ++i) {
        dataset.clips.push_back(
            {.audio = {}, .recording = fmt::format("S_20260601_00{:02}{:02}", i / 60, i % 60), .targets = {0}});
    }
    const auto table = learn_activity(dataset, all_rows(dataset), {}).value();
    const auto logit = [](double p) { return std::log(p / (1 - p)); };
    EXPECT_NEAR(table.shifts[cell(6, 12)], logit(51.25 / 210) - logit(0.125), 0.006);
    EXPECT_NEAR(table.shifts[cell(6, 0)], logit(1.25 / 210) - logit(0.125), 0.006);
    const double near = std::exp(-0.5);  // one hour, or one month, away
    EXPECT_NEAR(table.shifts[cell(6, 13)], logit((50 * near + 1.25) / (200 * near + 10)) - logit(0.125), 0.006);
    EXPECT_EQ(table.shifts[cell(5, 12)], table.shifts[cell(6, 13)]);
    EXPECT_EQ(table.shifts[cell(6, 23)], table.shifts[cell(6, 1)]) << "hours go round";
    EXPECT_EQ(table.shifts[cell(12, 12)], 0.0F) << "half a year away";
}

TEST_F(Activity, GoesBySolarTimeWhereTheRecordersStand) {
    const auto utc = learn();
    // Recorders 45 degrees west whose clocks show local time, 3 h behind UTC: solar time is what they show.
    const auto solar = learn({.longitude_deg = -45.0, .clock_ahead_hours = -3.0});
    EXPECT_TRUE(solar.solar);
    EXPECT_EQ(solar.shifts, utc.shifts);
    const auto shifted = learn({.longitude_deg = std::nullopt, .clock_ahead_hours = -3.0});
    EXPECT_GT(shifted.shifts[cell(11, 0)], 1.5F) << "21 h there is midnight UTC";
    EXPECT_NE(shifted.shifts, utc.shifts);
}

TEST_F(Activity, TakesTheTimeZoneThatANameTells) {
    Dataset dataset;
    dataset.classes = {"A"};
    for (int i = 0; i < 200; ++i) {
        dataset.clips.push_back(
            {.audio = {},
             .recording = fmt::format("S_20260601_{:02}{:02}{:02}-0300", i < 100 ? 12 : 0, i % 60, i / 60),
             .targets = {static_cast<std::uint8_t>(i < 100)}});
    }
    const auto table =
        learn_activity(dataset, all_rows(dataset), {.longitude_deg = std::nullopt, .clock_ahead_hours = 5.0}).value();
    EXPECT_GT(table.shifts[cell(6, 15)], 1.0F);
    EXPECT_LT(table.shifts[cell(6, 3)], -1.0F);
}

TEST_F(Activity, LearnsNothingFromTooFewDatedRecordings) {
    auto dataset = dataset_;
    const auto rows = all_rows(dataset);
    EXPECT_FALSE(learn_activity(dataset, std::span(rows).first(2 * (kFewestDatedRecordings - 1)), {}));
    EXPECT_TRUE(learn_activity(dataset, std::span(rows).first(2 * kFewestDatedRecordings), {}));
    for (auto& clip : dataset.clips) {
        clip.audio = clip.recording + ".wav";
        clip.recording = clip.recording.substr(0, clip.recording.find('_', 2));  // S_YYYYMMDD
    }
    EXPECT_GT(count_dated_recordings(dataset, rows), 1) << "by the names of their sound";
    for (auto& clip : dataset.clips) {
        clip.audio = "1.wav";
        clip.recording = "POND_1";
    }
    EXPECT_EQ(count_dated_recordings(dataset, rows), 0);
    EXPECT_FALSE(learn_activity(dataset, rows, {}));
}

}  // namespace
}  // namespace chorus
