#include "streaming/loss_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace chorus {
namespace {

constexpr int kRate = 48'000;
constexpr std::int64_t kFrames = 480;  // 10 ms

std::int64_t time_of(std::int64_t sample) {
    return sample * 1'000'000'000 / kRate;
}

TEST(LossDetector, FindsNoLossInAnUnbrokenStream) {
    LossDetector detector(kRate);
    for (std::int64_t i = 0; i < 10'000; ++i) {
        ASSERT_EQ(detector.lost_before(5'000'000'000 + time_of(i * kFrames), kFrames, i == 0), 0);
    }
}

TEST(LossDetector, CountsTheSamplesOfAJump) {
    LossDetector detector(kRate);
    detector.lost_before(0, kFrames, false);
    EXPECT_EQ(detector.lost_before(time_of(kFrames + kRate), kFrames, false), kRate);
    EXPECT_EQ(detector.lost_before(time_of(2 * kFrames + kRate), kFrames, false), 0);
}

TEST(LossDetector, CountsASmallJumpWhereTheStreamSaysThatSomethingIsMissing) {
    LossDetector detector(kRate);
    detector.lost_before(0, kFrames, false);
    EXPECT_EQ(detector.lost_before(time_of(2 * kFrames), kFrames, true), kFrames);
}

TEST(LossDetector, AddsUpLossesBelowTheTolerance) {
    LossDetector detector(kRate);
    std::int64_t position = 0;
    std::int64_t found = 0;
    for (int i = 0; i < 100; ++i) {
        found += detector.lost_before(time_of(position), kFrames, false);
        position += kFrames * (i % 10 == 9 ? 2 : 1);
    }
    EXPECT_NEAR(static_cast<double>(found), 9 * kFrames, 0.045 * kRate);
}

TEST(LossDetector, TakesJitterAndDriftForNoLoss) {
    LossDetector detector(kRate);
    std::mt19937 random(1);
    std::uniform_int_distribution<std::int64_t> jitter_ns(-15'000'000, 15'000'000);
    for (std::int64_t i = 0; i < 360'000; ++i) {  // an hour, 200 ppm fast
        const auto drifted = std::llround(static_cast<double>(time_of(i * kFrames)) * 1.0002);
        ASSERT_EQ(detector.lost_before(1'000'000'000 + drifted + jitter_ns(random), kFrames, false), 0) << i;
    }
}

TEST(LossDetector, TakesABurstAfterAStallForNoLossTwice) {
    LossDetector detector(kRate);
    detector.lost_before(0, kFrames, false);
    // Stamped on arrival: 60 ms late, then at once what was held up. The index may move once, not at every stall.
    std::int64_t found = 0;
    for (int stall = 0; stall < 5; ++stall) {
        const std::int64_t begin = 1 + stall * 20;
        for (std::int64_t i = begin; i < begin + 20; ++i) {
            const auto arrival = std::max(time_of(i * kFrames), time_of((begin + 6) * kFrames));
            found += detector.lost_before(arrival, kFrames, false);
        }
    }
    EXPECT_LE(found, 7 * kFrames);
}

TEST(LossDetector, GoesOnWhenTimestampsAreMissingOrBeginAnew) {
    LossDetector detector(kRate);
    detector.lost_before(time_of(0), kFrames, false);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(detector.lost_before(std::nullopt, kFrames, false), 0);
    EXPECT_EQ(detector.lost_before(time_of(101 * kFrames), kFrames, false), 0);
    for (int i = 0; i < 300; ++i) detector.lost_before(time_of((102 + i) * kFrames), kFrames, false);
    EXPECT_EQ(detector.lost_before(time_of(0), kFrames, true), 0);
    EXPECT_EQ(detector.lost_before(time_of(kFrames), kFrames, true), 0);
}

TEST(LossDetector, TakesAClockThatJumpsByHoursForNoLoss) {
    LossDetector detector(kRate);
    for (std::int64_t i = 0; i < 10; ++i) detector.lost_before(time_of(i * kFrames), kFrames, false);
    const std::int64_t later = 2 * 3'600 * std::int64_t{kRate};
    for (std::int64_t i = 10; i < 20; ++i)
        EXPECT_EQ(detector.lost_before(time_of(later + i * kFrames), kFrames, i == 10), 0);
    EXPECT_EQ(detector.lost_before(time_of(later + 25 * kFrames), kFrames, false), 5 * kFrames);
}

}  // namespace
}  // namespace chorus
