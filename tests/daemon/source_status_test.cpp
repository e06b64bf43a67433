#include "daemon/source_status.h"

#include <gtest/gtest.h>

#include "daemon/back_off.h"
#include "daemon/repeat_limiter.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

const MonotonicTime kBegin{};

TEST(SourceStatus, IsUpWithTheFirstSoundAndDownWithTheFirstFailure) {
    SourceStatus status;
    EXPECT_FALSE(status.update(kBegin));
    EXPECT_EQ(status.state(), SourceState::kStarting);
    status.sound(kBegin);
    EXPECT_TRUE(status.update(kBegin));
    EXPECT_EQ(status.state(), SourceState::kUp);
    status.failed(kBegin + 1h, "unplugged");
    EXPECT_TRUE(status.update(kBegin + 1h));
    EXPECT_EQ(status.state(), SourceState::kDown);
    EXPECT_EQ(status.reason(), "unplugged");
}

TEST(SourceStatus, IsDownWhereItNeverOpened) {
    SourceStatus status;
    status.failed(kBegin, "no such card");
    EXPECT_TRUE(status.update(kBegin));
    EXPECT_EQ(status.state(), SourceState::kDown);
    status.sound(kBegin + 10s);
    EXPECT_FALSE(status.update(kBegin + 11s)) << "not steady yet";
    EXPECT_TRUE(status.update(kBegin + 12s));
    EXPECT_EQ(status.state(), SourceState::kUp) << "nothing was lost that had been there";
}

TEST(SourceStatus, IsDegradedForAMinuteAfterALoss) {
    SourceStatus status;
    status.sound(kBegin);
    status.update(kBegin);
    status.lost(kBegin + 10s, "0.1 s lost");
    EXPECT_TRUE(status.update(kBegin + 10s));
    EXPECT_EQ(status.state(), SourceState::kDegraded);
    EXPECT_EQ(status.reason(), "0.1 s lost");
    EXPECT_FALSE(status.update(kBegin + 69s));
    EXPECT_TRUE(status.update(kBegin + 70s));
    EXPECT_EQ(status.state(), SourceState::kUp);
    EXPECT_EQ(status.reason(), "");
}

TEST(SourceStatus, IsDegradedWhileAChannelIsFaulty) {
    SourceStatus status;
    status.sound(kBegin);
    status.channel_faults("channel 1 dead");
    EXPECT_TRUE(status.update(kBegin));
    EXPECT_EQ(status.state(), SourceState::kDegraded);
    status.channel_faults("");
    EXPECT_TRUE(status.update(kBegin + 1s));
    EXPECT_EQ(status.state(), SourceState::kUp);
}

TEST(SourceStatus, SaysAFlappingSourceDegradedAndNothingMore) {
    SourceStatus status;
    int changes = 0;
    for (int second = 0; second < 3600; ++second) {
        const auto now = kBegin + std::chrono::seconds(second);
        // Each 10 s it is gone for 2 s, whatever the back-off.
        if (second % 10 == 8) status.failed(now, "stalled");
        if (second % 10 < 8) status.sound(now);
        changes += status.update(now) ? 1 : 0;
    }
    EXPECT_EQ(status.state(), SourceState::kDegraded);
    EXPECT_LE(changes, 3) << "up, down, degraded";
}

TEST(SourceStatus, IsDownWhereTheSoundStaysAway) {
    SourceStatus status;
    status.sound(kBegin);
    status.lost(kBegin, "lost");
    status.update(kBegin);
    for (int second = 0; second < 5; ++second) {
        status.failed(kBegin + std::chrono::seconds(second), "gone");
        EXPECT_FALSE(status.update(kBegin + std::chrono::seconds(second)));
    }
    status.failed(kBegin + 5s, "gone");
    EXPECT_TRUE(status.update(kBegin + 5s));
    EXPECT_EQ(status.state(), SourceState::kDown);
}

TEST(SourceStatus, IsOffAtOnceAndStartsAgain) {
    SourceStatus status;
    status.sound(kBegin);
    status.update(kBegin);
    status.set(SourceState::kOff, "");
    EXPECT_TRUE(status.update(kBegin + 1s));
    EXPECT_FALSE(status.update(kBegin + 1h));
    EXPECT_EQ(status.state(), SourceState::kOff);
    status.sound(kBegin + 2h);
    EXPECT_TRUE(status.update(kBegin + 2h));
    EXPECT_EQ(status.state(), SourceState::kUp);
}

TEST(BackOff, GrowsToItsBoundAndBeginsAnewAfterAStableMinute) {
    BackOff back_off(1);
    for (int attempt = 0; attempt < 20; ++attempt) {
        const auto middle =
            std::min<std::chrono::milliseconds>(BackOff::kFirst * (1 << std::min(attempt, 10)), BackOff::kLongest);
        const auto pause = back_off.next(0s);
        EXPECT_GE(pause, middle / 2);
        EXPECT_LE(pause, middle * 3 / 2);
    }
    EXPECT_LE(back_off.next(60s), BackOff::kFirst * 3 / 2);
}

TEST(BackOff, DoesNotGrowOverStallsThatHaveNothingToDoWithEachOther) {
    BackOff back_off(2);
    for (int stall = 0; stall < 100; ++stall) EXPECT_LE(back_off.next(61s), BackOff::kFirst * 3 / 2);
}

TEST(BackOff, IsJittered) {
    BackOff one(1), other(2);
    int same = 0;
    for (int i = 0; i < 10; ++i) same += one.next(0s) == other.next(0s) ? 1 : 0;
    EXPECT_LT(same, 10);
}

TEST(RepeatLimiter, LetsOneThroughAnIntervalAndSumsUpTheRest) {
    RepeatLimiter limiter(60s);
    EXPECT_FALSE(limiter.overdue(kBegin));
    EXPECT_EQ(limiter.admit(kBegin, "a"), "a");
    EXPECT_FALSE(limiter.admit(kBegin + 1s, "b"));
    EXPECT_FALSE(limiter.admit(kBegin + 59s, "c"));
    EXPECT_FALSE(limiter.overdue(kBegin + 59s));
    EXPECT_EQ(limiter.admit(kBegin + 60s, "d"), "d (2 more like it)");
    EXPECT_FALSE(limiter.admit(kBegin + 61s, "e"));
    EXPECT_FALSE(limiter.admit(kBegin + 62s, "f"));
    EXPECT_EQ(limiter.overdue(kBegin + 120s), "f (1 more like it)");
    EXPECT_FALSE(limiter.overdue(kBegin + 500s));
}

}  // namespace
}  // namespace chorus
