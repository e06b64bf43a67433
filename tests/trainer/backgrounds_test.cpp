#include "trainer/backgrounds.h"

#include <gmock/gmock.h>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::HasSubstr;

TEST(Backgrounds, AreAllWholeWindowsOfTheFoldersRecordings) {
    const TemporaryFolder folder;
    const std::vector<float> sound(7 * 16000, 0.1F);
    write_wav(folder / "rain.wav", sound, 16000);
    write_wav(folder / "road/cars.wav", std::span(sound).first(3 * 16000), 16000);
    write_wav(folder / "short.wav", std::span(sound).first(16000), 16000);
    write_text(folder / "broken.flac", "no sound");
    const auto noise = read_backgrounds(folder.path(), 3.0);
    ASSERT_EQ(noise.clips.size(), 3U);
    EXPECT_EQ(noise.clips[1].audio, folder / "rain.wav");
    EXPECT_EQ(noise.clips[1].offset_seconds, 3.0);
    EXPECT_EQ(noise.clips[2].audio, folder / "road/cars.wav");
    ASSERT_EQ(noise.left_out.size(), 2U);
    EXPECT_THAT(noise.left_out[0].reason, HasSubstr("cannot be read as sound"));
    EXPECT_EQ(noise.left_out[1].reason, "lasts only 1.00 s, a window 3 s");
}

TEST(Backgrounds, SayInOneLineThatThereAreNone) {
    const TemporaryFolder folder;
    EXPECT_THAT([&] { read_backgrounds(folder.path(), 3.0); },
                testing::ThrowsMessage<std::runtime_error>(folder.path().string() + ": no recording in it"));
    write_text(folder / "broken.wav", "no sound");
    EXPECT_THAT([&] { read_backgrounds(folder.path(), 3.0); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("no recording can be used; the first: ")));
    EXPECT_THROW(read_backgrounds(folder / "none", 3.0), std::runtime_error);
}

}  // namespace
}  // namespace chorus
