#include "trainer/feature_store.h"

#include <gmock/gmock.h>

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

TEST(FeatureStore, GivesBackWhatWasSetToHalfPrecision) {
    FeatureStore store(2, 3, 4);
    const std::vector<float> features = {0.0F, 1.0F, 0.3333F, 0.5F, 0.9999F, 1e-3F};
    store.set(2, features);
    std::vector<float> got(6);
    store.get(2, got);
    EXPECT_THAT(got, Pointwise(FloatNear(5e-4F), features));
    const std::size_t rows[] = {0, 2};
    store.keep(rows);
    EXPECT_EQ(store.size(), 2U);
    store.get(1, got);
    EXPECT_THAT(got, Pointwise(FloatNear(5e-4F), features));
}

TEST(ComputeFeatures, AreThoseOfTheServingFrontEndForAnyNumberOfThreads) {
    const TemporaryFolder folder;
    write_tone_dataset(folder.path(), 8, 2);
    const FrontEnd front_end(coarse());
    for (const int threads : {1, 3}) {
        auto dataset = read_anuraset(folder.path(), 3.0);
        std::size_t last = 0;
        const auto store = compute_features(front_end, dataset, threads, [&](std::size_t done, std::size_t of) {
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
    const auto store = compute_features(FrontEnd(coarse()), dataset, 2);
    ASSERT_EQ(dataset.clips.size(), 2U);
    EXPECT_EQ(store.size(), 2U);
    EXPECT_EQ(dataset.clips[1].audio, expected);
    ASSERT_EQ(dataset.left_out.size(), 3U);
    EXPECT_EQ(dataset.left_out[0].item, (folder / "audio/POND/POND_1_0_3.wav").string());
    EXPECT_THAT(dataset.left_out[0].reason, HasSubstr("cannot be read as sound"));
    EXPECT_EQ(dataset.left_out[1].reason, "lasts only 1.00 s, a window 3 s");
    EXPECT_EQ(dataset.left_out[2].reason, "lasts more than 3.00 s, a window 3 s");
}

TEST(ComputeFeatures, SaysInOneLineThatNothingIsLeft) {
    const TemporaryFolder folder;
    write_tone_dataset(folder.path(), 2, 0);
    write_text(folder / "audio/POND/POND_0_0_3.wav", "");
    write_text(folder / "audio/POND/POND_1_0_3.wav", "");
    auto dataset = read_anuraset(folder.path(), 3.0);
    EXPECT_THAT(
        [&] { compute_features(FrontEnd(coarse()), dataset, 1); },
        testing::ThrowsMessage<std::runtime_error>(HasSubstr("no clip of the dataset can be used; the last: ")));
}

}  // namespace
}  // namespace chorus
