#include "trainer/audio_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <numbers>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<float> sine(double hz, double seconds, int rate_hz) {
    std::vector<float> samples(static_cast<std::size_t>(seconds * rate_hz));
    for (std::size_t i = 0; i < samples.size(); ++i)
        samples[i] = static_cast<float>(0.5 * std::sin(2.0 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz));
    return samples;
}

TEST(AudioFile, GivesSamplesUntouchedAtTheirOwnRate) {
    const TemporaryFolder folder;
    const auto samples = sine(1000.0, 0.5, 16000);
    write_wav(folder / "a.wav", samples, 16000);
    EXPECT_THAT(read_audio(folder / "a.wav", 16000), testing::Pointwise(testing::FloatNear(1.0F / 32768.0F), samples));
}

TEST(AudioFile, ResamplesToTheRateAskedFor) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", sine(1000.0, 3.0, 22050), 22050);
    const auto got = read_audio(folder / "a.wav", 16000);
    const auto expected = sine(1000.0, 3.0, 16000);
    ASSERT_EQ(got.size(), 48000U);
    for (std::size_t i = 1000; i < 47000; ++i) ASSERT_NEAR(got[i], expected[i], 2e-4) << i;
}

TEST(AudioFile, ReadsASpanAndOneChannelOrTheMean) {
    const TemporaryFolder folder;
    std::vector<float> interleaved;
    for (int i = 0; i < 16000; ++i) {
        interleaved.push_back(0.25F);
        interleaved.push_back(i < 8000 ? 0.5F : -0.25F);
    }
    write_wav(folder / "a.wav", interleaved, 16000, 2);
    const auto mean = read_audio(folder / "a.wav", 16000);
    EXPECT_EQ(mean.size(), 16000U);
    EXPECT_NEAR(mean.front(), 0.375F, 1e-4);
    EXPECT_NEAR(mean.back(), 0.0F, 1e-4);
    const auto right = read_audio(folder / "a.wav", 16000, {.start_seconds = 0.5, .seconds = 0.25, .channel = 1});
    EXPECT_EQ(right.size(), 4000U);
    EXPECT_NEAR(right.front(), -0.25F, 1e-4);
    EXPECT_EQ(read_audio(folder / "a.wav", 16000, {.start_seconds = 0.75, .seconds = 9.0, .channel = 0}).size(), 4000U);
    EXPECT_TRUE(read_audio(folder / "a.wav", 16000, {.start_seconds = 5.0, .seconds = 1.0, .channel = 0}).empty());
}

auto fails_with(const std::filesystem::path& path, const std::string& text) {
    return testing::ThrowsMessage<std::runtime_error>(
        AllOf(StartsWith(path.string() + ": "), HasSubstr(text), testing::Not(HasSubstr("\n"))));
}

TEST(AudioFile, NamesTheFileAndTheReasonItCannotUse) {
    const TemporaryFolder folder;
    write_text(folder / "text.wav", "this is no sound");
    write_text(folder / "empty.wav", "");
    write_wav(folder / "slow.wav", sine(100.0, 0.5, 4000), 4000);
    write_wav(folder / "mono.wav", sine(100.0, 0.5, 16000), 16000);
    EXPECT_THAT([&] { read_audio(folder / "none.wav", 16000); }, fails_with(folder / "none.wav", "cannot be read"));
    EXPECT_THAT([&] { read_audio(folder / "text.wav", 16000); }, fails_with(folder / "text.wav", "cannot be read"));
    EXPECT_THAT([&] { read_audio(folder / "empty.wav", 16000); }, fails_with(folder / "empty.wav", "cannot be read"));
    EXPECT_THAT([&] { read_audio(folder / "slow.wav", 16000); }, fails_with(folder / "slow.wav", "4000 Hz"));
    EXPECT_THAT([&] { read_audio(folder / "mono.wav", 16000, {.start_seconds = 0.0, .seconds = {}, .channel = 1}); },
                fails_with(folder / "mono.wav", "no channel 1"));
    EXPECT_THAT([&] { read_audio(folder / "mono.wav", 16000, {.start_seconds = -1.0, .seconds = {}, .channel = {}}); },
                fails_with(folder / "mono.wav", "span"));
}

TEST(AudioFile, RefusesSamplesThatAreNoNumbers) {
    const TemporaryFolder folder;
    // A WAV of 32 bit floats, one of them not a number.
    const float samples[] = {0.0F, std::numeric_limits<float>::quiet_NaN(), 0.5F, 0.25F};
    const auto little = [](std::uint32_t value, int bytes) {
        std::string text;
        for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
        return text;
    };
    const std::string data(reinterpret_cast<const char*>(samples), sizeof samples);
    write_text(folder / "nan.wav", "RIFF" + little(36 + sizeof samples, 4) + "WAVEfmt " + little(16, 4) + little(3, 2) +
                                       little(1, 2) + little(16000, 4) + little(64000, 4) + little(4, 2) +
                                       little(32, 2) + "data" + little(sizeof samples, 4) + data);
    EXPECT_THAT([&] { read_audio(folder / "nan.wav", 16000); }, fails_with(folder / "nan.wav", "not finite"));
}

}  // namespace
}  // namespace chorus
