#include "model/front_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <thread>

#include "tests/model/golden_files.h"
#include "tests/model/test_sounds.h"

namespace chorus {
namespace {

using testing::Each;
using testing::Eq;
using testing::HasSubstr;

constexpr std::size_t kFrames = 376;

std::vector<float> log_mel(const FrontEnd& front_end, std::span<const float> clip) {
    std::vector<float> features(front_end.parameters().feature_size());
    front_end.log_mel(clip, features);
    return features;
}

TEST(FrontEnd, FilterbankIsTorchaudios) {
    const FrontEnd front_end(FrontEndParameters{});
    const auto filterbank = front_end.filterbank();
    ASSERT_EQ(filterbank.size(), 257U * 128U);
    const auto at = [&](std::size_t bin, std::size_t mel) { return filterbank[bin * 128 + mel]; };
    EXPECT_NEAR(std::accumulate(filterbank.begin(), filterbank.end(), 0.0), 252.785126, 1e-4);
    EXPECT_NEAR(*std::ranges::max_element(filterbank), 0.98955888, 1e-6);
    EXPECT_NEAR(at(1, 1), 0.7660, 5e-5);
    EXPECT_NEAR(at(1, 2), 0.2340, 5e-5);
    EXPECT_NEAR(at(2, 3), 0.6244, 5e-5);
    EXPECT_NEAR(at(2, 4), 0.3756, 5e-5);
    EXPECT_NEAR(at(3, 5), 0.5684, 5e-5);
    for (std::size_t mel = 0; mel < 128; ++mel) {
        double sum = 0;
        for (std::size_t bin = 0; bin < 257; ++bin) sum += at(bin, mel);
        EXPECT_EQ(sum == 0, mel == 0) << mel;
    }
}

TEST(FrontEnd, FilterbankEntriesAreTorchaudiosInOrder) {
    const auto wanted = golden(golden_file("front_end_golden.safetensors"), "filterbank");
    auto filterbank = FrontEnd(FrontEndParameters{}).filterbank();
    std::erase(filterbank, 0.0F);
    ASSERT_EQ(filterbank.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(filterbank[i], wanted[i], 1e-6) << i;
}

TEST(FrontEnd, LogMelOfASineIsTorchaudios) {
    const auto file = golden_file("front_end_golden.safetensors");
    const auto clip = resample_like_torchaudio(sine(1000, 22050, 3), 22050, 16000);
    ASSERT_EQ(clip.size(), 48000U);
    const auto sparse = golden(file, "sine.every_499th");
    for (std::size_t i = 0; i < sparse.size(); ++i) ASSERT_NEAR(clip[499 * i], sparse[i], 1e-6) << i;

    const FrontEnd front_end(FrontEndParameters{});
    auto features = log_mel(front_end, clip);
    EXPECT_NEAR(features[44 * kFrames + 188], 34.559937, 1e-3);
    std::vector<double> of_mel;
    for (std::size_t mel = 0; mel < 128; ++mel) {
        const auto row = features.begin() + static_cast<std::ptrdiff_t>(mel * kFrames);
        of_mel.push_back(std::accumulate(row, row + kFrames, 0.0));
    }
    EXPECT_EQ(std::ranges::max_element(of_mel) - of_mel.begin(), 44);
    EXPECT_NEAR(*std::ranges::min_element(features), -100, 1e-4);

    const auto wanted = golden(file, "sine.db");
    std::size_t i = 0;
    for (std::size_t mel = 0; mel < 128; mel += 5) {
        for (std::size_t frame = 0; frame < kFrames; frame += 25, ++i) {
            if (wanted[i] < -60) continue;  // there only rounding is left of the sine
            EXPECT_NEAR(features[mel * kFrames + frame], wanted[i], 1e-3) << mel << ", " << frame;
        }
    }
    features_of_clip(front_end, clip, features);
    const double sum = std::accumulate(features.begin(), features.end(), 0.0);
    // Most of the features are rounding, 90 dB below the sine, that two Fourier transforms do differently.
    EXPECT_NEAR(sum, 2830.6106, 2);
    EXPECT_NEAR(sum / 48128, 0.058814216, 5e-5);
}

TEST(FrontEnd, LogMelOfAHissIsTorchaudios) {
    const auto wanted = golden(golden_file("front_end_golden.safetensors"), "hiss.db");
    const auto features = log_mel(FrontEnd(FrontEndParameters{}), hiss(48000));
    std::size_t i = 0;
    for (std::size_t mel = 0; mel < 128; mel += 5) {
        for (std::size_t frame = 0; frame < kFrames; frame += 25, ++i) {
            EXPECT_NEAR(features[mel * kFrames + frame], wanted[i], 1e-3) << mel << ", " << frame;
        }
    }
    EXPECT_EQ(i, wanted.size());
}

TEST(FrontEnd, SilenceIsTheFloorAndNormalisesToZero) {
    const FrontEnd front_end(FrontEndParameters{});
    const std::vector<float> silence(48000, 0.0F);
    auto features = log_mel(front_end, silence);
    EXPECT_THAT(features, Each(testing::FloatNear(-100.0F, 1e-4F)));
    features_of_clip(front_end, silence, features);
    EXPECT_THAT(features, Each(Eq(0.0F)));
}

TEST(FrontEnd, BrokenSamplesLeaveEveryFeatureInRange) {
    const FrontEnd front_end(FrontEndParameters{});
    for (const float broken :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e38F}) {
        auto clip = hiss(48000);
        clip[20000] = broken;
        std::vector<float> features(front_end.parameters().feature_size());
        features_of_clip(front_end, clip, features);
        EXPECT_THAT(features, Each(testing::AllOf(testing::Ge(0.0F), testing::Le(1.0F)))) << broken;
    }
}

TEST(FrontEnd, GivesTheSameBitsOnEveryThread) {
    const FrontEnd front_end(FrontEndParameters{});
    const auto clip = hiss(48000);
    const auto wanted = log_mel(front_end, clip);
    std::vector<std::vector<float>> found(4);
    {
        std::vector<std::jthread> threads;
        for (auto& features : found) threads.emplace_back([&] { features = log_mel(front_end, clip); });
    }
    EXPECT_THAT(found, Each(Eq(wanted)));
}

TEST(FrontEnd, FeaturesAreTheDecibelsFromTheirLowestToTheirHighest) {
    for (const int mels : {1, 7, 8, 40, 128}) {
        for (const double seconds : {0.032, 0.1, 0.5}) {
            const FrontEnd front_end({.window_seconds = seconds, .mels = mels});
            const auto clip = hiss(static_cast<std::size_t>(front_end.parameters().window_samples()));
            auto expected = log_mel(front_end, clip);
            const auto [lowest, highest] = std::ranges::minmax(expected);
            for (auto& value : expected) value = (value - lowest) / (highest - lowest);
            std::vector<float> features(expected.size());
            features_of_clip(front_end, clip, features);
            EXPECT_EQ(features, expected) << mels << " mels, " << seconds << " s";
        }
    }
}

TEST(FrontEnd, ValidateNamesTheParameterOutOfBounds) {
    struct Case {
        const char* name;
        std::function<void(FrontEndParameters&)> change;
    };
    const Case cases[] = {
        {"sample_rate_hz", [](auto& p) { p.sample_rate_hz = 7999; }},
        {"sample_rate_hz", [](auto& p) { p.sample_rate_hz = std::numeric_limits<int>::max(); }},
        {"n_fft", [](auto& p) { p.n_fft = 500; }},
        {"n_fft", [](auto& p) { p.n_fft = 16; }},
        {"n_fft", [](auto& p) { p.n_fft = 16384; }},
        {"n_fft", [](auto& p) { p.n_fft = std::numeric_limits<int>::min(); }},
        {"hop", [](auto& p) { p.hop = 0; }},
        {"hop", [](auto& p) { p.hop = 513; }},
        {"hop", [](auto& p) { p.window_seconds = 60, p.hop = 1; }},
        {"mels", [](auto& p) { p.mels = 0; }},
        {"mels", [](auto& p) { p.mels = 513; }},
        {"mels", [](auto& p) { p.mels = 512, p.hop = 1; }},
        {"window_seconds", [](auto& p) { p.window_seconds = 0; }},
        {"window_seconds", [](auto& p) { p.window_seconds = 61; }},
        {"window_seconds", [](auto& p) { p.window_seconds = 0.01; }},
        {"window_seconds", [](auto& p) { p.window_seconds = std::numeric_limits<double>::quiet_NaN(); }},
        {"f_min_hz", [](auto& p) { p.f_min_hz = -1; }},
        {"f_min_hz", [](auto& p) { p.f_min_hz = 8000; }},
        {"f_max_hz", [](auto& p) { p.f_max_hz = 8001; }},
        {"f_min_hz", [](auto& p) { p.f_max_hz = std::numeric_limits<double>::quiet_NaN(); }},
        {"log_floor", [](auto& p) { p.log_floor = 0; }},
        {"log_floor", [](auto& p) { p.log_floor = 2; }},
    };
    EXPECT_NO_THROW(validate(FrontEndParameters{}));
    for (const auto& [name, change] : cases) {
        FrontEndParameters parameters;
        change(parameters);
        try {
            validate(parameters);
            ADD_FAILURE() << name << " was accepted";
        } catch (const std::invalid_argument& error) {
            EXPECT_THAT(error.what(), HasSubstr(std::string("front-end: ") + name));
        }
    }
}

}  // namespace
}  // namespace chorus
