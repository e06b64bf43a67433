#include "trainer/augmentation.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace chorus {
namespace {

constexpr int kMels = 16;
constexpr int kFrames = 40;
constexpr double kFrameSeconds = 0.016;

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
    int widest = 0;
    for (int i = 0; i < 4000; ++i) {
        const auto drawn = draw_augmentation({}, kMels, kFrames, kFrameSeconds, 0, random);
        EXPECT_EQ(drawn.mels.size(), 3U);
        EXPECT_EQ(drawn.frames.size(), 6U);
        shifts.push_back(drawn.shift);
        for (const auto& mask : drawn.frames) widest = std::max(widest, mask.width);
    }
    EXPECT_EQ(widest, 14) << "below 0.24 s / 16 ms";
    EXPECT_EQ(*std::min_element(shifts.begin(), shifts.end()), 0);
    EXPECT_EQ(*std::max_element(shifts.begin(), shifts.end()), kFrames - 1);
    const auto none = draw_augmentation({.time_shift = false, .frequency_masks = 0, .time_masks = 0}, kMels, kFrames,
                                        kFrameSeconds, 0, random);
    EXPECT_EQ(apply(none), ramp());
    const auto off = draw_augmentation({.gain_db = 6.0, .scope = AugmentationScope::kNone}, kMels, kFrames,
                                       kFrameSeconds, 3, random);
    EXPECT_EQ(apply(off), ramp());
    EXPECT_EQ(off.gain_db, 0.0F);
    EXPECT_FALSE(off.background);
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

TEST(Augment, FillsExactlyTheMasks) {
    constexpr float kMean = (1.0F + kMels * kFrames) / 2.0F;
    for (const auto& [fill, filled] : {std::pair{MaskFill::kMean, kMean}, std::pair{MaskFill::kZero, 0.0F}}) {
        const auto masked = apply({.shift = 7,
                                   .mels = {{.start = 2, .width = 3}},
                                   .frames = {{.start = 38, .width = 2}, {.start = 5, .width = 0}},
                                   .mask_fill = fill});
        const auto shifted = apply({.shift = 7});
        for (int mel = 0; mel < kMels; ++mel) {
            for (int frame = 0; frame < kFrames; ++frame) {
                const auto i = static_cast<std::size_t>(mel * kFrames + frame);
                const bool hidden = (mel >= 2 && mel < 5) || frame >= 38;
                EXPECT_FLOAT_EQ(masked[i], hidden ? filled : shifted[i]) << mel << ' ' << frame;
            }
        }
    }
}

TEST(DrawAugmentation, DrawsGainAndBackgroundOnlyWhereAskedFor) {
    Random with(7);
    Random without(7);
    draw_augmentation({}, kMels, kFrames, kFrameSeconds, 0, without);
    const auto off = draw_augmentation({.background_share = 0.0}, kMels, kFrames, kFrameSeconds, 0, with);
    EXPECT_EQ(off.gain_db, 0.0F);
    EXPECT_FALSE(off.background);
    EXPECT_EQ(with.state(), without.state());

    const AugmentationParameters parameters{
        .gain_db = 6.0, .background_share = 0.25, .background_lowest_snr_db = -3.0, .background_highest_snr_db = 9.0};
    std::vector<float> gains;
    std::vector<float> snrs;
    std::vector<int> chosen(3);
    for (int i = 0; i < 4000; ++i) {
        const auto drawn = draw_augmentation(parameters, kMels, kFrames, kFrameSeconds, chosen.size(), with);
        gains.push_back(drawn.gain_db);
        if (!drawn.background) continue;
        ++chosen.at(*drawn.background);
        snrs.push_back(drawn.background_snr_db);
    }
    const auto expect_range = [](const std::vector<float>& values, float low, float high) {
        EXPECT_THAT(values, testing::Each(testing::AllOf(testing::Ge(low), testing::Le(high))));
        EXPECT_NEAR(*std::min_element(values.begin(), values.end()), low, 0.1);
        EXPECT_NEAR(*std::max_element(values.begin(), values.end()), high, 0.1);
    };
    expect_range(gains, -6.0F, 6.0F);
    expect_range(snrs, -3.0F, 9.0F);
    EXPECT_NEAR(static_cast<double>(snrs.size()), 1000.0, 100.0);
    EXPECT_THAT(chosen, testing::Each(testing::Gt(250)));
}

class ChangedSound : public testing::Test {
  protected:
    static constexpr int kSamples = 48'000;

    static std::vector<float> noise(unsigned seed, float amplitude) {
        std::vector<float> samples;
        std::mt19937 engine(seed);
        for (int i = 0; i < kSamples; ++i)
            samples.push_back(amplitude * (static_cast<float>(engine()) / 2147483648.0F - 1.0F));
        return samples;
    }

    static std::vector<float> tone(float amplitude) {
        std::vector<float> samples;
        for (int i = 0; i < kSamples; ++i) samples.push_back(amplitude * std::sin(0.9F * static_cast<float>(i)));
        return samples;
    }

    ScaledWindow window_of(const std::vector<float>& samples, std::vector<float>& features) const {
        features.resize(front_end_.parameters().feature_size());
        return {.features = features, .scale = features_of_clip(front_end_, samples, features)};
    }

    std::vector<float> changed(const std::vector<float>& clip, const Augmentation& augmentation,
                               const std::vector<float>& background = {}) const {
        std::vector<float> features;
        std::vector<float> of_background;
        auto window = window_of(clip, features);
        const auto behind = background.empty() ? ScaledWindow{} : window_of(background, of_background);
        change_sound(augmentation, behind, -100.0F, window);
        return features;
    }

    const FrontEnd front_end_{FrontEndParameters{}};
};

TEST_F(ChangedSound, IsThatOfALouderRecording) {
    auto clip = noise(1, 0.01F);
    std::vector<float> plain;
    window_of(clip, plain);
    const auto louder = changed(clip, {.gain_db = 12.0F});
    for (auto& sample : clip) sample *= std::pow(10.0F, 12.0F / 20.0F);
    std::vector<float> expected;
    window_of(clip, expected);
    EXPECT_THAT(louder, testing::Pointwise(testing::FloatNear(1e-3F), expected));
    EXPECT_GT(std::abs(plain[5 * 376] - louder[5 * 376]), 0.01F) << "above the floor, which the lowest mel is at";
}

TEST_F(ChangedSound, HoldsTheBackgroundThatALoudspeakerWouldAdd) {
    const auto clip = tone(0.1F);
    const auto background = noise(2, 0.1F);
    const auto mixed = changed(clip, {.background = 0, .background_snr_db = 6.0F}, background);

    // In the same ratio of powers, as sound: means over time, since phases are drawn anew in each frame.
    std::vector<float> db(front_end_.parameters().feature_size());
    const auto mean_power = [&](const std::vector<float>& samples) {
        front_end_.log_mel(samples, db);
        double sum = 0.0;
        for (const float value : db) sum += std::pow(10.0, value / 10.0);
        return sum;
    };
    const double ratio = mean_power(clip) / mean_power(background) * std::pow(10.0, -0.6);
    auto sound = clip;
    for (std::size_t i = 0; i < sound.size(); ++i) sound[i] += static_cast<float>(std::sqrt(ratio)) * background[i];
    std::vector<float> expected;
    window_of(sound, expected);
    for (std::size_t mel = 0; mel < 128; ++mel) {
        const auto mean = [&](const std::vector<float>& features) {
            return std::accumulate(features.begin() + static_cast<std::ptrdiff_t>(mel) * 376,
                                   features.begin() + static_cast<std::ptrdiff_t>(mel + 1) * 376, 0.0F) /
                   376.0F;
        };
        EXPECT_NEAR(mean(mixed), mean(expected), 0.015F) << mel;
    }
}

TEST_F(ChangedSound, StaysAsItIsWithABackgroundFarBelow) {
    const auto clip = noise(3, 0.1F);
    std::vector<float> expected;
    window_of(clip, expected);
    EXPECT_THAT(changed(clip, {.background = 0, .background_snr_db = 90.0F}, noise(4, 0.1F)),
                testing::Pointwise(testing::FloatNear(1e-3F), expected));
}

}  // namespace
}  // namespace chorus
