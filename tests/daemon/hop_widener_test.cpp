#include "daemon/hop_widener.h"

#include <gtest/gtest.h>

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr double kRoom = 16;

TEST(HopWidener, WidensWhileTheQueueIsFullAndNarrowsAfterACalm) {
    HopWidener widener(3.0, kRoom);
    MonotonicTime now{};
    EXPECT_EQ(widener.update(now, 7), 1.0);
    EXPECT_EQ(widener.update(now, 8), 2.0);
    EXPECT_EQ(widener.update(now + 1s, 16), 2.0) << "the first change needs time to show";
    EXPECT_EQ(widener.update(now + 2s, 16), 3.0) << "no further than the window";
    EXPECT_EQ(widener.update(now + 9s, 16), 3.0);
    now += 10s;
    EXPECT_EQ(widener.update(now, 0), 3.0);
    EXPECT_EQ(widener.update(now + 29s, 0), 3.0);
    EXPECT_EQ(widener.update(now + 29500ms, 1.5), 3.0) << "not calm: the wait begins anew";
    now += 30s;
    EXPECT_EQ(widener.update(now, 0), 3.0);
    EXPECT_EQ(widener.update(now + 30s, 0), 2.0);
    EXPECT_EQ(widener.update(now + 59s, 0), 2.0);
    EXPECT_EQ(widener.update(now + 60s, 0), 1.0);
    EXPECT_EQ(widener.update(now + 600s, 0), 1.0);
}

TEST(HopWidener, TakesTheWindowsThatAllChannelsGiveAtOnceForNoBacklog) {
    for (const double room : {2.0, 16.0}) {
        HopWidener widener(3.0, room);
        MonotonicTime now{};
        EXPECT_EQ(widener.update(now, 1), 1.0);
        EXPECT_EQ(widener.update(now, room), 2.0);
        EXPECT_EQ(widener.update(now += 1s, 1), 2.0);
        EXPECT_EQ(widener.update(now += 30s, 1), 1.0);
    }
}

TEST(HopWidener, LeavesAHopAloneThatIsTheWindow) {
    HopWidener widener(1.0, kRoom);
    EXPECT_EQ(widener.update(MonotonicTime{}, kRoom), 1.0);
}

}  // namespace
}  // namespace chorus
