#include "trainer/augmentation.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace chorus {
namespace {

constexpr int kMels = 16;
constexpr int kFrames = 40;

/// Every value different and none 0.
std::vector<float> ramp() {
    std::vector<float> values(kMels * kFrames);
    std::iota(values.begin(), values.end(), 1.0F);
    return values;
}

std::vector<float> apply(const Augmentation& augmentation) {
    std::vector<float> out(kMels * kFrames, -1.0F);
    augment(augmentation, kMels, kFrames, ramp(), out);
    return out;
}

TEST(DrawMask, StaysWithinBoundsAndReachesThem) {
    Random random(3);
    int widest = 0;
    int last_end = 0;
    int first_start = kFrames;
    for (int i = 0; i < 20'000; ++i) {
        const auto mask = draw_mask(10, kFrames, random);
        ASSERT_GE(mask.width, 0);
        ASSERT_LT(mask.width, 10);
        ASSERT_GE(mask.start, 0);
        ASSERT_LE(mask.start + mask.width, kFrames);
        widest = std::max(widest, mask.width);
        if (mask.width > 0) {
            first_start = std::min(first_start, mask.start);
            last_end = std::max(last_end, mask.start + mask.width);
        }
    }
    EXPECT_EQ(widest, 9);
    EXPECT_EQ(first_start, 0);
    EXPECT_EQ(last_end, kFrames - 1);  // a start is below size - width
}

TEST(DrawMask, HasTheMeanWidthOfAFlooredUniform) {
    Random random(4);
    double sum = 0.0;
    for (int i = 0; i < 20'000; ++i) sum += draw_mask(30, 188, random).width;
    EXPECT_NEAR(sum / 20'000, 14.5, 0.3);
}

TEST(DrawMask, IsNeverWiderThanWhatItMasks) {
    Random random(5);
    for (int i = 0; i < 1000; ++i) {
        const auto mask = draw_mask(30, 4, random);
        ASSERT_LE(mask.start + mask.width, 4);
    }
}

TEST(DrawAugmentation, DrawsAsManyMasksAsAskedForAndEveryShift) {
    Random random(6);
    std::vector<int> shifts;
    for (int i = 0; i < 4000; ++i) {
        const auto drawn = draw_augmentation({}, kMels, kFrames, random);
        EXPECT_EQ(drawn.mels.size(), 3U);
        EXPECT_EQ(drawn.frames.size(), 6U);
        shifts.push_back(drawn.shift);
    }
    EXPECT_EQ(*std::min_element(shifts.begin(), shifts.end()), 0);
    EXPECT_EQ(*std::max_element(shifts.begin(), shifts.end()), kFrames - 1);
    const auto none =
        draw_augmentation({.time_shift = false, .frequency_masks = 0, .time_masks = 0}, kMels, kFrames, random);
    EXPECT_EQ(apply(none), ramp());
}

TEST(Augment, ShiftsInACircleAndLosesNothing) {
    const auto shifted = apply({.shift = 3, .mels = {}, .frames = {}});
    EXPECT_FLOAT_EQ(shifted[3], ramp()[0]);
    EXPECT_FLOAT_EQ(shifted[0], ramp()[kFrames - 3]);
    EXPECT_FLOAT_EQ(shifted[kFrames + 3], ramp()[kFrames]);
    for (int mel = 0; mel < kMels; ++mel) {
        std::vector<float> row(shifted.begin() + mel * kFrames, shifted.begin() + (mel + 1) * kFrames);
        std::sort(row.begin(), row.end());
        const auto all = ramp();
        EXPECT_TRUE(std::equal(row.begin(), row.end(), all.begin() + mel * kFrames)) << mel;
    }
}

TEST(Augment, ZeroesExactlyTheMasks) {
    const auto masked = apply({.shift = 0,
                               .mels = {{.start = 2, .width = 3}},
                               .frames = {{.start = 38, .width = 2}, {.start = 5, .width = 0}}});
    const auto original = ramp();
    for (int mel = 0; mel < kMels; ++mel) {
        for (int frame = 0; frame < kFrames; ++frame) {
            const auto i = static_cast<std::size_t>(mel * kFrames + frame);
            const bool hidden = (mel >= 2 && mel < 5) || frame >= 38;
            EXPECT_FLOAT_EQ(masked[i], hidden ? 0.0F : original[i]) << mel << ' ' << frame;
        }
    }
}

}  // namespace
}  // namespace chorus
