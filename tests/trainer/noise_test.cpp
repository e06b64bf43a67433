#include "trainer/noise.h"

#include <gmock/gmock.h>

#include <vector>

namespace chorus {
namespace {

const std::vector<float> kThresholds = {0.5F, 0.8F};

/// Windows of 3 s every second of one stretch after the other.
std::vector<NoiseWindow> windows(std::vector<int> counts) {
    std::vector<NoiseWindow> all;
    for (std::size_t stretch = 0; stretch < counts.size(); ++stretch)
        for (int i = 0; i < counts[stretch]; ++i)
            all.push_back({.stretch = static_cast<std::uint32_t>(stretch), .start_seconds = i * 1.0});
    return all;
}

int count(const std::vector<NoiseWindow>& noise, const std::vector<float>& scores) {
    return count_false_events(noise, 3.0, scores, kThresholds);
}

TEST(Noise, CountsNeighbouringHitsOfAClassAsOneEvent) {
    EXPECT_EQ(count(windows({4}), {0.6F, 0.0F, 0.7F, 0.0F, 0.6F, 0.0F, 0.0F, 0.0F}), 1);
    EXPECT_EQ(count(windows({2}), {0.6F, 0.9F, 0.6F, 0.9F}), 2) << "two classes";
    EXPECT_EQ(count(windows({2}), {0.4F, 0.7F, 0.4F, 0.7F}), 0) << "below their thresholds";
}

TEST(Noise, CountsHitsApartAsTwo) {
    // Window 0 ends at 3 s, window 4 begins at 4 s: within the merge gap; window 5 is not.
    std::vector<float> scores(16);
    scores[0] = scores[2 * 4] = 0.6F;
    EXPECT_EQ(count(windows({8}), scores), 1);
    scores[2 * 4] = 0.0F;
    scores[2 * 5] = 0.6F;
    EXPECT_EQ(count(windows({8}), scores), 2);
}

TEST(Noise, LetsNoEventGoOnInAnotherRecording) {
    EXPECT_EQ(count(windows({1, 1, 1}), {0.6F, 0.0F, 0.6F, 0.0F, 0.6F, 0.0F}), 3);
}

TEST(Noise, CountsEachSecondOnce) {
    EXPECT_DOUBLE_EQ(hours_of(windows({3598, 1}), 3.0), (3600.0 + 3.0) / 3600.0);
    EXPECT_DOUBLE_EQ(hours_of({}, 3.0), 0.0);
    const std::vector<NoiseWindow> apart = {{.stretch = 0, .start_seconds = 0.0},
                                            {.stretch = 0, .start_seconds = 10.0}};
    EXPECT_DOUBLE_EQ(hours_of(apart, 3.0), 6.0 / 3600.0);
}

}  // namespace
}  // namespace chorus
