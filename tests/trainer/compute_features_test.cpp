#include "trainer/compute_features.h"

#include <gmock/gmock.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>

#include "tests/trainer/support.h"
#include "trainer/audio_file.h"

namespace chorus {
namespace {

using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;

FrontEndParameters coarse() {
    FrontEndParameters parameters;
    parameters.hop = 512;
    parameters.mels = 32;
    return parameters;
}

TEST(ComputeFeatures, AreThoseOfTheServingFrontEndForAnyNumberOfThreads) {
    const TemporaryFolder folder;
    write_tone_dataset(folder.path(), 8, 2);
    const FrontEnd front_end(coarse());
    for (const int threads : {1, 3}) {
        auto dataset = read_anuraset(folder.path(), 3.0);
        std::size_t last = 0;
        const auto store =
            compute_features(front_end, dataset, {.threads = threads}, [&](std::size_t done, std::size_t of) {
                EXPECT_GT(done, last);
                EXPECT_EQ(of, 10U);
                last = done;
            });
        ASSERT_EQ(store.size(), 10U);
        std::vector<float> got(coarse().feature_size());
        std::vector<float> expected(got.size());
        for (std::size_t row = 0; row < store.size(); ++row) {
            features_of_clip(front_end, read_audio(dataset.clips[row].audio, 16000), expected);
            store.get(row, got);
            ASSERT_THAT(got, Pointwise(FloatNear(5e-4F), expected)) << row;
        }
    }
}

TEST(ComputeFeatures, LeavesOutClipsItCannotUseAndSaysWhy) {
    const TemporaryFolder folder;
    write_tone_dataset(folder.path(), 5, 0);
    write_text(folder / "audio/POND/POND_1_0_3.wav", "no sound");
    write_wav(folder / "audio/POND/POND_2_0_3.wav", std::vector<float>(22050), 22050);
    write_wav(folder / "audio/POND/POND_4_0_3.wav", std::vector<float>(22050 * 4), 22050);
    auto dataset = read_anuraset(folder.path(), 3.0);
    const auto expected = dataset.clips[3].audio;
    const auto store = compute_features(FrontEnd(coarse()), dataset, {.threads = 2});
    ASSERT_EQ(dataset.clips.size(), 2U);
    EXPECT_EQ(store.size(), 2U);
    EXPECT_EQ(dataset.clips[1].audio, expected);
    ASSERT_EQ(dataset.left_out.size(), 3U);
    EXPECT_EQ(dataset.left_out[0].item, (folder / "audio/POND/POND_1_0_3.wav").string());
    EXPECT_THAT(dataset.left_out[0].reason, HasSubstr("cannot be read as sound"));
    EXPECT_EQ(dataset.left_out[1].reason, "lasts only 1.00 s, a window 3 s");
    EXPECT_EQ(dataset.left_out[2].reason, "lasts more than 3.00 s, a window 3 s");
}

/// A recording of so many seconds at 16 kHz, the rate of the features.
std::vector<float> chirps(int seconds) {
    std::vector<float> samples(static_cast<std::size_t>(seconds) * 16000);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto t = static_cast<float>(i % 20000);
        samples[i] = 0.3F * std::sin(1e-5F * t * t);
    }
    return samples;
}

Clip window_of(const std::filesystem::path& audio, double offset) {
    return {.audio = audio, .offset_seconds = offset, .recording = "r", .start_seconds = offset, .targets = {1}};
}

TEST(ComputeFeatures, GivesWindowsOfARecordingWhatTheyWouldHaveAsClips) {
    const TemporaryFolder folder;
    const auto samples = chirps(8);
    write_wav(folder / "long.wav", samples, 16000);
    Dataset dataset;
    for (const double offset : {0.0, 1.5, 3.0, 5.0}) {
        dataset.clips.push_back(window_of(folder / "long.wav", offset));
        const auto name = folder / std::to_string(offset);
        write_wav(name, std::span(samples).subspan(static_cast<std::size_t>(offset * 16000), 48000), 16000);
        dataset.clips.push_back({.audio = name, .recording = "r", .targets = {1}});
    }
    std::stable_partition(dataset.clips.begin(), dataset.clips.end(),
                          [](const Clip& clip) { return clip.offset_seconds; });
    const auto store = compute_features(FrontEnd(coarse()), dataset, {.threads = 2});
    ASSERT_EQ(store.size(), 8U);
    std::vector<float> of_window(coarse().feature_size());
    std::vector<float> of_clip(of_window.size());
    for (std::size_t i = 0; i < 4; ++i) {
        store.get(i, of_window);
        store.get(4 + i, of_clip);
        EXPECT_EQ(of_window, of_clip) << i;
    }
}

TEST(ComputeFeatures, LeavesOutOnlyTheWindowsThatASilentOrMissingPlaceSpoils) {
    const TemporaryFolder folder;
    auto samples = chirps(8);
    std::fill(samples.begin() + 16000, samples.begin() + 4 * 16000, 0.0F);
    write_wav(folder / "gap.wav", samples, 16000);
    Dataset dataset;
    for (const double offset : {0.0, 1.0, 2.0, 5.0, 7.0})
        dataset.clips.push_back(window_of(folder / "gap.wav", offset));
    const auto store = compute_features(FrontEnd(coarse()), dataset, {.threads = 1});
    EXPECT_EQ(store.size(), 3U);
    ASSERT_EQ(dataset.left_out.size(), 2U);
    EXPECT_EQ(dataset.left_out[0].item, (folder / "gap.wav").string() + " at 1 s");
    EXPECT_EQ(dataset.left_out[0].reason, "is silent");
    EXPECT_EQ(dataset.left_out[1].reason, "ends after 1.00 s of its 3 s");
}

TEST(ComputeFeatures, ReadsWhateverFormatTheRecordingIsIn) {
    const TemporaryFolder folder;
    Dataset dataset;
    for (const auto& [name, format] :
         {std::pair("a.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_24), std::pair("a.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16),
          std::pair("a.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS),
          std::pair("a.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III)}) {
        SF_INFO info{.frames = 0, .samplerate = 44100, .channels = 1, .format = format, .sections = 0, .seekable = 0};
        auto* file = sf_open((folder / name).c_str(), SFM_WRITE, &info);
        ASSERT_NE(file, nullptr) << name << ": " << sf_strerror(nullptr);
        std::vector<float> samples(44100 * 6);
        for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = 0.3F * std::sin(0.2F * static_cast<float>(i));
        sf_write_float(file, samples.data(), static_cast<sf_count_t>(samples.size()));
        sf_close(file);
        dataset.clips.push_back(window_of(folder / name, 1.0));
        dataset.clips.push_back(window_of(folder / name, 2.5));
    }
    const auto store = compute_features(FrontEnd(coarse()), dataset, {.threads = 1});
    ASSERT_EQ(store.size(), 8U);
    std::vector<float> features(coarse().feature_size());
    for (std::size_t row = 0; row < 8; ++row) {
        store.get(row, features);
        const auto loudest = std::max_element(features.begin(), features.end()) - features.begin();
        EXPECT_EQ(loudest / coarse().frames(), 13) << row;  // 1,404 Hz: 1,238 of 2,840 mel, in 33 steps
    }
}

TEST(ComputeFeatures, SaysInOneLineThatNothingIsLeft) {
    const TemporaryFolder folder;
    write_tone_dataset(folder.path(), 2, 0);
    write_text(folder / "audio/POND/POND_0_0_3.wav", "");
    write_text(folder / "audio/POND/POND_1_0_3.wav", "");
    auto dataset = read_anuraset(folder.path(), 3.0);
    EXPECT_THAT(
        [&] { compute_features(FrontEnd(coarse()), dataset, {.threads = 1}); },
        testing::ThrowsMessage<std::runtime_error>(HasSubstr("no clip of the dataset can be used; the last: ")));
}

}  // namespace
}  // namespace chorus
