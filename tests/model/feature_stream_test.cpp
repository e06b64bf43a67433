#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/front_end.h"
#include "model/resampler.h"
#include "tests/model/test_sounds.h"

namespace chorus {
namespace {

std::vector<float> clip_features(const FrontEnd& front_end, std::span<const float> samples, std::int64_t start) {
    std::vector<float> features(front_end.parameters().feature_size());
    const auto window = static_cast<std::size_t>(front_end.parameters().window_samples());
    features_of_clip(front_end, samples.subspan(static_cast<std::size_t>(start), window), features);
    return features;
}

struct StreamCase {
    int source_rate_hz;
    std::int64_t window_hop;  // samples at the model's rate
    std::size_t longest_block;
};

class FeatureStreamCases : public testing::TestWithParam<StreamCase> {};

TEST_P(FeatureStreamCases, WindowsEqualClipsOfTheResampledSound) {
    const auto [rate_hz, window_hop, longest] = GetParam();
    const FrontEnd front_end(FrontEndParameters{});
    const std::int64_t window = front_end.parameters().window_samples();
    const auto sound = hiss(static_cast<std::size_t>(rate_hz) * 7 + 4321);
    const auto resampled = resample(sound, rate_hz, front_end.parameters().sample_rate_hz);

    FeatureStream stream(front_end, rate_hz, window_hop);
    std::vector<float> features(front_end.parameters().feature_size());
    std::int64_t start = 0;
    const auto take = [&, hop = window_hop] {
        for (; start + window <= stream.available(); start += hop) {
            stream.window(start, features);
            ASSERT_EQ(features, clip_features(front_end, resampled, start)) << "window at " << start;
        }
    };
    in_random_blocks(sound, static_cast<std::uint32_t>(rate_hz), longest, [&](std::span<const float> block) {
        stream.push(block);
        take();
    });
    stream.finish();
    take();
    ASSERT_EQ(stream.available(), std::ssize(resampled));
    EXPECT_GT(start, 4 * std::int64_t{16000} - window_hop);

    const std::int64_t last = stream.available() - window;  // aligned to the end: on no grid
    if (last < start - window_hop) return;
    stream.window(last, features);
    EXPECT_EQ(features, clip_features(front_end, resampled, last));
}

INSTANTIATE_TEST_SUITE_P(
    RatesAndHops, FeatureStreamCases,
    testing::Values(StreamCase{22050, 16000, 5000}, StreamCase{44100, 16000, 1}, StreamCase{22000, 8000, 777},
                    StreamCase{48000, 8000, 4800}, StreamCase{96000, 16000, 100000}, StreamCase{384000, 24000, 20000},
                    StreamCase{8000, 16000, 400}, StreamCase{16000, 1600, 3000}, StreamCase{48000, 1000, 480},
                    StreamCase{16000, 12345, 64}, StreamCase{16000, 48000, 9999}, StreamCase{16000, 60000, 9999}),
    [](const auto& test) {
        return std::to_string(test.param.source_rate_hz) + "HzEvery" + std::to_string(test.param.window_hop);
    });

TEST(FeatureStream, ComputesNoFrameTwice) {
    const FrontEnd front_end(FrontEndParameters{});
    const auto& p = front_end.parameters();
    for (const std::int64_t window_hop : {1000, 8000, 16000, 24000, 48000}) {
        FeatureStream stream(front_end, 16000, window_hop);
        stream.push(hiss(16000 * 20));
        std::vector<float> features(p.feature_size());
        std::set<std::int64_t> positions;  // of frames that are inside their window
        std::int64_t at_edges = 0;         // which are mirrored and no other window's
        for (std::int64_t start = 0; start + p.window_samples() <= stream.available(); start += window_hop) {
            stream.window(start, features);
            for (int frame = 0; frame < p.frames(); ++frame) {
                const std::int64_t first = std::int64_t{frame} * p.hop - p.n_fft / 2;
                if (first >= 0 && first + p.n_fft <= p.window_samples()) {
                    positions.insert(start + first);
                } else {
                    ++at_edges;
                }
            }
        }
        EXPECT_EQ(stream.frames_computed(), std::ssize(positions) + at_edges) << "a window every " << window_hop;
    }
}

TEST(FeatureStream, AnyLaterStartIsAllowed) {
    const FrontEnd front_end(FrontEndParameters{});
    const auto sound = hiss(16000 * 8);
    FeatureStream stream(front_end, 16000, 16000);
    stream.push(sound);
    std::vector<float> features(front_end.parameters().feature_size());
    for (const std::int64_t start : {0, 16000, 16001, 16128, 32000, 32000, 47999, 64000, 80000}) {
        stream.window(start, features);
        ASSERT_EQ(features, clip_features(front_end, sound, start)) << start;
    }
}

TEST(FeatureStream, OtherFrontEndsWorkToo) {
    const FrontEndParameters cases[] = {
        {.sample_rate_hz = 32000,
         .window_seconds = 2,
         .n_fft = 1024,
         .hop = 320,
         .mels = 64,
         .f_min_hz = 50,
         .f_max_hz = 14000},
        {.sample_rate_hz = 8000, .window_seconds = 0.5, .n_fft = 64, .hop = 63, .mels = 10, .f_max_hz = 4000},
        {.sample_rate_hz = 16000, .window_seconds = 0.032, .n_fft = 512, .hop = 512, .mels = 1}};
    for (const auto& parameters : cases) {
        const FrontEnd front_end(parameters);
        const auto sound = hiss(static_cast<std::size_t>(parameters.sample_rate_hz) * 5);
        const std::int64_t hop = parameters.window_samples() / 4;
        FeatureStream stream(front_end, parameters.sample_rate_hz, hop);
        std::vector<float> features(parameters.feature_size());
        std::int64_t start = 0;
        in_random_blocks(sound, 5, 3000, [&](std::span<const float> block) {
            stream.push(block);
            for (; start + parameters.window_samples() <= stream.available(); start += hop) {
                stream.window(start, features);
                ASSERT_EQ(features, clip_features(front_end, sound, start)) << start;
            }
        });
        EXPECT_GT(start, 0);
    }
}

TEST(FeatureStream, RefusesForgottenAndFutureSound) {
    const FrontEnd front_end(FrontEndParameters{});
    FeatureStream stream(front_end, 16000, 16000);
    std::vector<float> features(front_end.parameters().feature_size());
    stream.push(hiss(64000));
    EXPECT_THROW(stream.window(16001, features), std::logic_error);
    stream.window(16000, features);
    EXPECT_THROW(stream.window(15999, features), std::logic_error);
    EXPECT_THROW(stream.window(-1, features), std::logic_error);
}

TEST(FeatureStream, RefusesRatesAndHopsOutOfBounds) {
    const FrontEnd front_end(FrontEndParameters{});
    EXPECT_THROW(FeatureStream(front_end, 4000, 16000), std::invalid_argument);
    EXPECT_THROW(FeatureStream(front_end, 16000, 0), std::invalid_argument);
    EXPECT_NO_THROW(FeatureStream(front_end, 16000, std::numeric_limits<std::int64_t>::max()));
}

}  // namespace
}  // namespace chorus
