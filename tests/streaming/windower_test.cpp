#include "streaming/windower.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <vector>

namespace chorus {
namespace {

std::vector<SampleSpan> all_windows(std::int64_t window, std::int64_t hop, std::int64_t total) {
    Windower windower(window, hop);
    std::vector<SampleSpan> windows;
    while (const auto span = windower.next(total)) windows.push_back(*span);
    if (const auto span = windower.last(total)) windows.push_back(*span);
    return windows;
}

TEST(Windower, PlacesOneWindowEveryHopAndOneMoreAtTheEnd) {
    EXPECT_EQ(all_windows(10, 4, 20), (std::vector<SampleSpan>{{0, 10}, {4, 14}, {8, 18}, {10, 20}}));
    EXPECT_EQ(all_windows(10, 10, 25), (std::vector<SampleSpan>{{0, 10}, {10, 20}, {15, 25}}));
}

TEST(Windower, AddsNoLastWindowWhereTheOthersCoverAll) {
    EXPECT_EQ(all_windows(10, 5, 20), (std::vector<SampleSpan>{{0, 10}, {5, 15}, {10, 20}}));
    EXPECT_EQ(all_windows(10, 10, 10), (std::vector<SampleSpan>{{0, 10}}));
}

TEST(Windower, GivesNothingForAStretchShorterThanAWindow) {
    EXPECT_TRUE(all_windows(10, 4, 9).empty());
    EXPECT_TRUE(all_windows(10, 4, 0).empty());
}

TEST(Windower, GivesTheLastWindowOnce) {
    Windower windower(10, 10);
    ASSERT_TRUE(windower.next(15));
    EXPECT_EQ(windower.last(15), (SampleSpan{5, 15}));
    EXPECT_EQ(windower.last(15), std::nullopt);
    EXPECT_EQ(windower.covered(), 15);
}

TEST(Windower, KeepsItsPlaceBeyondThirtyTwoBits) {
    constexpr std::int64_t kWindow = 3'000'000'000;
    constexpr std::int64_t kTotal = 10 * kWindow + 1;
    const auto windows = all_windows(kWindow, kWindow, kTotal);
    ASSERT_EQ(windows.size(), 11U);
    EXPECT_EQ(windows.back(), (SampleSpan{kTotal - kWindow, kTotal}));
}

TEST(Windower, RefusesAHopThatLeavesHolesOrNeverAdvances) {
    EXPECT_THROW(Windower(10, 11), std::invalid_argument);
    EXPECT_THROW(Windower(10, 0), std::invalid_argument);
    EXPECT_THROW(Windower(10, -1), std::invalid_argument);
    EXPECT_THROW(Windower(0, 0), std::invalid_argument);
}

TEST(Windower, CoversEverySampleForAnyWindowHopAndIncrements) {
    std::mt19937 random(20261123);
    const auto between = [&](std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    for (int round = 0; round < 5'000; ++round) {
        const auto window = between(1, 50);
        const auto hop = between(1, window);
        const auto total = between(0, 400);
        SCOPED_TRACE(testing::Message() << "window " << window << " hop " << hop << " total " << total);

        Windower windower(window, hop);
        std::vector<SampleSpan> windows;
        std::int64_t available = 0;
        do {
            available = std::min(total, available + between(0, 60));
            while (const auto span = windower.next(available)) {
                ASSERT_LE(span->end, available);
                windows.push_back(*span);
                ASSERT_EQ(windower.covered(), span->end);
            }
        } while (available < total);
        const auto regular = windows.size();
        for (std::size_t i = 0; i < regular; ++i) {
            const auto start = static_cast<std::int64_t>(i) * hop;
            ASSERT_EQ(windows[i], (SampleSpan{start, start + window}));
        }
        if (const auto span = windower.last(total)) {
            ASSERT_EQ(*span, (SampleSpan{total - window, total}));
            ASSERT_TRUE(windows.empty() || windows.back().end < total);
            windows.push_back(*span);
        }
        ASSERT_EQ(windows.empty(), total < window);
        if (!windows.empty()) {
            ASSERT_EQ(windows.front().start, 0);
            ASSERT_EQ(windows.back().end, total);
            for (std::size_t i = 1; i < windows.size(); ++i) {
                ASSERT_LE(windows[i].start, windows[i - 1].end);
                ASSERT_GT(windows[i].start, windows[i - 1].start);
            }
        }
        ASSERT_EQ(windows, all_windows(window, hop, total)) << "the increments made a difference";
    }
}

}  // namespace
}  // namespace chorus
