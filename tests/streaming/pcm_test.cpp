#include "streaming/pcm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace chorus {
namespace {

using testing::ElementsAre;

std::vector<float> floats_of(PcmFormat format, int channels, std::vector<std::uint8_t> bytes) {
    std::vector<float> samples;
    PcmReader(format, channels).read(bytes, samples);
    return samples;
}

TEST(PcmReader, DividesIntegersByTheirFullScale) {
    EXPECT_THAT(floats_of(PcmFormat::kS16, 1, {0x00, 0x80, 0xff, 0x7f, 0x01, 0x00, 0xff, 0xff}),
                ElementsAre(-1.0F, 32767.0F / 32768.0F, 1.0F / 32768.0F, -1.0F / 32768.0F));
    EXPECT_THAT(floats_of(PcmFormat::kS24, 1, {0x00, 0x00, 0x80, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}),
                ElementsAre(-1.0F, 8388607.0F / 8388608.0F, -1.0F / 8388608.0F));
    EXPECT_THAT(floats_of(PcmFormat::kS32, 1, {0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x40}),
                ElementsAre(-1.0F, 0.5F));
    EXPECT_THAT(floats_of(PcmFormat::kF32, 1, {0x00, 0x00, 0xc0, 0x3f}), ElementsAre(1.5F));
}

TEST(PcmReader, GivesTheSameFramesHoweverTheBytesAreCut) {
    std::mt19937 random(3);
    for (const auto format : {PcmFormat::kS16, PcmFormat::kS24, PcmFormat::kS32, PcmFormat::kF32}) {
        for (const int channels : {1, 2, 3, 8, 16}) {
            const auto frame = bytes_per_sample(format) * static_cast<std::size_t>(channels);
            std::vector<std::uint8_t> bytes(frame * 200);
            // The exponent's low bit stays clear, so that no float is NaN and == compares.
            std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random() & 0x7f); });
            const auto whole = floats_of(format, channels, bytes);
            ASSERT_EQ(whole.size(), 200U * static_cast<std::size_t>(channels));

            PcmReader reader(format, channels);
            std::vector<float> pieces;
            for (std::size_t at = 0; at < bytes.size();) {
                const auto size = std::min<std::size_t>(random() % (2 * frame + 3), bytes.size() - at);
                reader.read(std::span(bytes).subspan(at, size), pieces);
                ASSERT_EQ(pieces.size() % static_cast<std::size_t>(channels), 0U) << "a partial frame came out";
                at += size;
            }
            EXPECT_EQ(pieces, whole);
        }
    }
}

TEST(PcmReader, ForgetsAPartialFrameWhenItStartsAnew) {
    PcmReader reader(PcmFormat::kS16, 1);
    std::vector<float> samples;
    reader.read(std::vector<std::uint8_t>{0x55}, samples);
    reader.restart();
    reader.read(std::vector<std::uint8_t>{0x00, 0x40}, samples);
    EXPECT_THAT(samples, ElementsAre(0.5F));
}

TEST(PcmReader, RefusesSoundWithoutChannels) {
    EXPECT_THROW(PcmReader(PcmFormat::kS16, 0), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
