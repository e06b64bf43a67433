#include "model/detector.h"

#include <gtest/gtest.h>

#include <random>

namespace chorus {
namespace {

constexpr std::int64_t kWindow = 300;
constexpr std::int64_t kHop = 100;

DetectorSettings one_class() {
    return {.thresholds = {0.5F},
            .hysteresis = 0.8,
            .min_windows = {1},
            .merge_gap_samples = 0,
            .update_samples = 1'000'000};
}

// Scores of one class, one window every hop; then the end.
std::vector<Detection> detect(const DetectorSettings& settings, const std::vector<float>& scores,
                              std::int64_t* rejected = nullptr) {
    Detector detector(settings);
    std::vector<Detection> out;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        const auto start = static_cast<std::int64_t>(i) * kHop;
        detector.add(start, start + kWindow, {&scores[i], 1}, out);
    }
    detector.finish(out);
    if (rejected != nullptr) *rejected = detector.rejected();
    return out;
}

TEST(Detector, OpensAtOnceAndClosesAtTheEnd) {
    const auto events = detect(one_class(), {0.1F, 0.9F, 0.1F});
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0], (Detection{0, EventPhase::kOpen, 100, 400, 0.9F, static_cast<double>(0.9F), 1, 0.5F}));
    EXPECT_EQ(events[1], (Detection{0, EventPhase::kClose, 100, 400, 0.9F, static_cast<double>(0.9F), 1, 0.5F}));
}

TEST(Detector, CountsAScoreAtTheThresholdAsAHit) {
    EXPECT_EQ(detect(one_class(), {0.5F}).size(), 2U);
}

TEST(Detector, GoesOnAboveTheLowerThresholdButDoesNotBeginThere) {
    EXPECT_TRUE(detect(one_class(), {0.45F, 0.45F}).empty());
    const auto events = detect(one_class(), {0.6F, 0.45F, 0.3F});
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].end_sample, 400);
    EXPECT_EQ(events[1].windows, 2);
    EXPECT_FLOAT_EQ(events[1].peak_score, 0.6F);
}

TEST(Detector, MergesHitsNoFurtherApartThanTheGap) {
    // Hits at windows 0 and 4: the first ends at 300, the second begins at 400.
    auto settings = one_class();
    settings.merge_gap_samples = 100;
    EXPECT_EQ(detect(settings, {0.9F, 0, 0, 0, 0.9F}).size(), 2U);
    settings.merge_gap_samples = 99;
    EXPECT_EQ(detect(settings, {0.9F, 0, 0, 0, 0.9F}).size(), 4U);
}

TEST(Detector, NeedsSoManyWindowsAndCountsWhatItRejects) {
    auto settings = one_class();
    settings.min_windows = {2};
    std::int64_t rejected = 0;
    EXPECT_TRUE(detect(settings, {0.9F, 0, 0, 0, 0, 0}, &rejected).empty());
    EXPECT_EQ(rejected, 1);
    const auto events = detect(settings, {0.9F, 0.9F}, &rejected);
    EXPECT_EQ(rejected, 0);
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].start_sample, 0) << "the event begins with its first hit, not with the one that opened it";
    EXPECT_EQ(events[0].windows, 2);
}

TEST(Detector, AsksEachClassForItsOwnNumberOfWindows) {
    Detector detector({.thresholds = {0.5F, 0.5F}, .min_windows = {1, 3}});
    std::vector<Detection> out;
    const std::vector<float> scores = {0.9F, 0.9F};
    for (std::int64_t i = 0; i < 2; ++i) detector.add(i * kHop, i * kHop + kWindow, scores, out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].label, 0U);
    detector.add(2 * kHop, 2 * kHop + kWindow, scores, out);
    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[1].label, 1U);
    EXPECT_EQ(out[1].windows, 3);
}

TEST(Detector, UpdatesAnOpenEventAsItGrows) {
    auto settings = one_class();
    settings.update_samples = 200;
    const auto events = detect(settings, {0.9F, 0.9F, 0.9F, 0.9F, 0.9F});
    ASSERT_EQ(events.size(), 4U);
    EXPECT_EQ(events[1].phase, EventPhase::kUpdate);
    EXPECT_EQ(events[1].end_sample, 500);
    EXPECT_EQ(events[2].end_sample, 700);
    EXPECT_EQ(events[3].phase, EventPhase::kClose);
}

TEST(Detector, IgnoresScoresThatAreNoNumbers) {
    EXPECT_TRUE(detect(one_class(), {std::numeric_limits<float>::quiet_NaN()}).empty());
}

// Whatever the scores, an event is opened once, updated while open, closed once, and holds every hit.
TEST(Detector, KeepsItsContractForRandomScores) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        constexpr std::size_t kClasses = 3;
        DetectorSettings settings{.thresholds = {0.3F, 0.5F, 0.9F},
                                  .hysteresis = 0.5 + 0.1 * static_cast<double>(random() % 6),
                                  .min_windows = {1 + static_cast<int>(random() % 3), 1, 2},
                                  .merge_gap_samples = static_cast<std::int64_t>(random() % 300),
                                  .update_samples = 250};
        Detector detector(settings);
        std::vector<Detection> out;
        std::vector<std::vector<std::int64_t>> sure_hits(kClasses);
        for (std::int64_t i = 0; i < 60; ++i) {
            std::array<float, kClasses> scores{};
            for (std::size_t c = 0; c < kClasses; ++c) {
                scores[c] = static_cast<float>(random() % 1000) / 1000.0F;
                if (scores[c] >= settings.thresholds[c]) sure_hits[c].push_back(i * kHop);
            }
            detector.add(i * kHop, i * kHop + kWindow, scores, out);
        }
        detector.finish(out);
        std::vector<bool> open(kClasses, false);
        std::vector<std::vector<Detection>> closed(kClasses);
        for (const auto& event : out) {
            EXPECT_EQ(open[event.label], event.phase != EventPhase::kOpen);
            open[event.label] = event.phase != EventPhase::kClose;
            EXPECT_GE(event.windows, settings.min_windows[event.label]);
            EXPECT_LE(event.mean_score, static_cast<double>(event.peak_score) + 1e-9);
            EXPECT_GE(event.peak_score, event.threshold);
            if (event.phase == EventPhase::kClose) {
                if (!closed[event.label].empty()) {
                    EXPECT_GT(event.start_sample - closed[event.label].back().end_sample, settings.merge_gap_samples);
                }
                closed[event.label].push_back(event);
            }
        }
        for (std::size_t c = 0; c < kClasses; ++c) {
            EXPECT_FALSE(open[c]);
            if (settings.min_windows[c] > 1) continue;
            for (const auto start : sure_hits[c]) {
                EXPECT_TRUE(std::any_of(closed[c].begin(), closed[c].end(), [&](const Detection& event) {
                    return event.start_sample <= start && start + kWindow <= event.end_sample;
                })) << "a window at or above the threshold belongs to an event";
            }
        }
    }
}

}  // namespace
}  // namespace chorus
