#include "daemon/hop_widener.h"

#include <gtest/gtest.h>

namespace chorus {
namespace {

using namespace std::chrono_literals;

TEST(HopWidener, WidensWhileTheQueueIsFullAndNarrowsAfterACalm) {
    HopWidener widener(3.0);
    MonotonicTime now{};
    EXPECT_EQ(widener.update(now, 0.4), 1.0);
    EXPECT_EQ(widener.update(now, 0.6), 2.0);
    EXPECT_EQ(widener.update(now + 1s, 1.0), 2.0) << "the first change needs time to show";
    EXPECT_EQ(widener.update(now + 2s, 1.0), 3.0) << "no further than the window";
    EXPECT_EQ(widener.update(now + 9s, 1.0), 3.0);
    now += 10s;
    EXPECT_EQ(widener.update(now, 0.0), 3.0);
    EXPECT_EQ(widener.update(now + 29s, 0.0), 3.0);
    EXPECT_EQ(widener.update(now + 29500ms, 0.2), 3.0) << "not calm: the wait begins anew";
    now += 30s;
    EXPECT_EQ(widener.update(now, 0.0), 3.0);
    EXPECT_EQ(widener.update(now + 30s, 0.0), 2.0);
    EXPECT_EQ(widener.update(now + 59s, 0.0), 2.0);
    EXPECT_EQ(widener.update(now + 60s, 0.0), 1.0);
    EXPECT_EQ(widener.update(now + 600s, 0.0), 1.0);
}

TEST(HopWidener, LeavesAHopAloneThatIsTheWindow) {
    HopWidener widener(1.0);
    EXPECT_EQ(widener.update(MonotonicTime{}, 1.0), 1.0);
}

}  // namespace
}  // namespace chorus
