#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "recording.h"
#include "streaming/audio_source.h"
#include "wav.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using namespace testing_tools;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Layout {
    int channels;
    std::optional<std::uint32_t> mask;
};

class FileSourceChannels : public testing::TestWithParam<Layout> {};

TEST_P(FileSourceChannels, ComeOutUnmixedAndInOrder) {
    const TemporaryFolder folder;
    const auto path = folder / "noise.wav";
    auto wav = noise(GetParam().channels, 20'011);
    wav.channel_mask = GetParam().mask;
    write_wav(path, wav);

    const auto recording = record_file(path);
    EXPECT_EQ(recording.channels, GetParam().channels);
    EXPECT_EQ(recording.sample_rate_hz, 48'000);
    EXPECT_TRUE(recording.samples == read_with_libsndfile(path)) << "not bit for bit what libsndfile reads";
}

INSTANTIATE_TEST_SUITE_P(Layouts, FileSourceChannels,
                         testing::Values(Layout{1, {}}, Layout{2, {}}, Layout{3, {}}, Layout{4, {}}, Layout{6, {}},
                                         Layout{8, {}}, Layout{16, {}}, Layout{1, 0x4}, Layout{2, 0x3}, Layout{4, 0x33},
                                         Layout{4, 0x0}, Layout{6, 0x3f}, Layout{6, 0x60f}, Layout{8, 0x63f},
                                         Layout{8, 0xff}, Layout{8, 0x0}, Layout{16, 0x0}, Layout{16, 0xffff},
                                         Layout{4, 0x3}),
                         [](const auto& layout) {
                             const auto mask = layout.param.mask ? "Mask" + std::to_string(*layout.param.mask)
                                                                 : std::string("NoMask");
                             return std::to_string(layout.param.channels) + mask;
                         });

TEST(FileSource, ReadsEveryDepthExactly) {
    const TemporaryFolder folder;
    for (const int bits : {8, 16, 24, 32}) {
        const auto path = folder / (std::to_string(bits) + ".wav");
        write_wav(path, noise(2, 5'000, bits));
        EXPECT_TRUE(record_file(path).samples == read_with_libsndfile(path)) << bits << " bits";
    }
}

TEST(FileSource, KeepsFloatsBeyondFullScale) {
    const TemporaryFolder folder;
    for (const int bits : {32, 64}) {
        const auto path = folder / (std::to_string(bits) + ".wav");
        Wav wav{.channels = 1, .sample_rate_hz = 8'000, .bits = bits, .is_float = true, .channel_mask = {}, .data = {}};
        for (int i = 0; i < 1'000; ++i) {
            const double value = (i - 500) / 100.0;
            const auto narrow = static_cast<float>(value);
            const auto* bytes = bits == 64 ? reinterpret_cast<const std::uint8_t*>(&value)
                                           : reinterpret_cast<const std::uint8_t*>(&narrow);
            wav.data.insert(wav.data.end(), bytes, bytes + bits / 8);
        }
        write_wav(path, wav);
        EXPECT_TRUE(record_file(path).samples == read_with_libsndfile(path)) << bits << " bits";
    }
}

TEST(FileSource, KeepsARateThatIsNoStandardOne) {
    const TemporaryFolder folder;
    auto wav = noise(1, 1'000);
    for (const int rate : {8'000, 22'000, 44'100, 250'000, 384'000}) {
        wav.sample_rate_hz = rate;
        write_wav(folder / "rate.wav", wav);
        const auto recording = record_file(folder / "rate.wav");
        EXPECT_EQ(recording.sample_rate_hz, rate);
        EXPECT_EQ(recording.samples.size(), 1'000U);
    }
}

TEST(FileSource, IsNotLiveHasNoGapsAndKnowsNoUtc) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", noise(2, 30'000));
    const auto source = open_gstreamer_source({.name = "a", .launch = launch_for_file(folder / "a.wav")});
    EXPECT_FALSE(source->is_live());
    const auto recording = record(*source);
    EXPECT_THAT(recording.gaps, IsEmpty());
    for (const auto& block : recording.blocks) EXPECT_FALSE(block.capture_time);
    EXPECT_TRUE(std::holds_alternative<EndOfStream>(source->read(0ms))) << "the end did not last";
}

TEST(FileSource, CutsAFileIntoBlocksOfUsefulLength) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", noise(1, 480'000));
    const auto recording = record_file(folder / "a.wav");
    ASSERT_EQ(recording.samples.size(), 480'000U);
    for (std::size_t i = 0; i + 1 < recording.blocks.size(); ++i) {
        EXPECT_GE(recording.blocks[i].frames(), 4'800) << "shorter than 100 ms";
        EXPECT_LE(recording.blocks[i].frames(), 48'000) << "longer than a second";
    }
}

TEST(FileSource, WaitsForItsReader) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", noise(4, 480'000));
    const auto source = open_gstreamer_source({.name = "a", .launch = launch_for_file(folder / "a.wav")});
    ASSERT_TRUE(std::holds_alternative<AudioBlock>(source->read(5s)));
    std::int64_t frames = 0;
    for (auto item = source->read(5s); !std::holds_alternative<EndOfStream>(item); item = source->read(5s)) {
        if (const auto* block = std::get_if<AudioBlock>(&item)) frames = block->first_sample + block->frames();
    }
    EXPECT_EQ(frames, 480'000);
}

TEST(FileSource, PlaysAtItsOwnSpeedWhereAsked) {
    const TemporaryFolder folder;
    auto wav = noise(1, 24'000);  // half a second
    write_wav(folder / "a.wav", wav);
    const auto begin = std::chrono::steady_clock::now();
    const auto source =
        open_gstreamer_source({.name = "a", .launch = launch_for_file(folder / "a.wav"), .realtime = true});
    EXPECT_FALSE(source->is_live());
    const auto recording = record(*source);
    EXPECT_GT(std::chrono::steady_clock::now() - begin, 350ms);
    EXPECT_TRUE(recording.samples == read_with_libsndfile(folder / "a.wav"));
    EXPECT_THAT(recording.gaps, IsEmpty());
}

TEST(FileSource, OpensPathsThatLaunchSyntaxWouldMisread) {
    const TemporaryFolder folder;
    for (const std::string name : {"plain.wav",
                                   "two words.wav",
                                   "a ! b.wav",
                                   "say \"hi\".wav",
                                   "it's.wav",
                                   "back\\slash.wav",
                                   "end\\",
                                   "\"",
                                   "\\\"",
                                   "\\\\\" ! fakesink \"",
                                   "Rã-çú-蛙.wav",
                                   "latin\xe3.wav",
                                   "new\nline.wav",
                                   "(x) [y] {z}.wav",
                                   "a=b,c;d.wav",
                                   "%20.wav",
                                   "# not a comment.wav",
                                   "name. ! x.",
                                   "NULL",
                                   "-dash",
                                   "$HOME.wav",
                                   "tab\t.wav",
                                   "\x01\x7f.wav",
                                   "'\"'",
                                   "~"}) {
        const auto path = folder / name;
        write_wav(path, noise(1, 100));
        EXPECT_EQ(record_file(path).samples.size(), 100U) << name;
    }
}

TEST(FileSource, OpensRelativePaths) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", noise(1, 100));
    const auto relative = std::filesystem::relative(folder / "a.wav");
    EXPECT_EQ(record_file(relative).samples.size(), 100U);
}

TEST(FileSource, SaysWhatIsWrongWithAFileInOneLine) {
    const TemporaryFolder folder;
    const auto fault_of = [&](const std::string& name, const std::string& content) {
        const auto path = (folder / name).string();
        std::ofstream(path, std::ios::binary) << content;
        const auto line = failure_of({.name = path, .launch = launch_for_file(path)});
        EXPECT_THAT(line, testing::StartsWith(path + ": "));
        EXPECT_THAT(line, Not(HasSubstr("\n")));
        return line.substr(path.size() + 2);
    };
    std::string text;
    for (int i = 0; i < 1'000; ++i) text += "The frogs are silent tonight.\n";
    EXPECT_EQ(fault_of("empty.wav", ""), "the file is empty");
    EXPECT_EQ(fault_of("text.wav", text), "not a sound file (text/plain)");
    EXPECT_EQ(fault_of("short.wav", "frog"), "not a sound file (of no known type)");
    EXPECT_EQ(fault_of("zeros.wav", std::string(10'000, '\0')), "not a sound file (of no known type)");
    EXPECT_EQ(fault_of("image.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x8\0\0\0\x8\x8\0\0\0\0", 29) +
                                        std::string(1'000, 'x')),
              "not a sound file (image/png)");
    EXPECT_EQ(fault_of("header.wav",
                       std::string(
                           "RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0\x77\1\0\2\0\x10\0data\0\0\0\0", 44)),
              "there is no sound in it");
    EXPECT_THAT(fault_of("cut.wav", std::string("RIFF\x24\0\0\0WAVEfmt \x10\0", 18)),
                testing::StartsWith("damaged sound file (audio/x-wav"));
}

TEST(FileSource, SaysThatAFileIsMissingOrAFolder) {
    const TemporaryFolder folder;
    const auto missing = (folder / "missing.wav").string();
    EXPECT_EQ(failure_of({.name = missing, .launch = launch_for_file(missing)}), missing + ": no such file");
    EXPECT_EQ(failure_of({.name = "pond", .launch = launch_for_file(missing)}), "pond: " + missing + ": no such file");
    const auto itself = (folder / "").string();
    EXPECT_EQ(failure_of({.name = itself, .launch = launch_for_file(itself)}),
              itself + ": is a directory, not a sound file");
}

TEST(FileSource, SaysWhatIsWrongWithALaunchLine) {
    EXPECT_EQ(failure_of({.name = "pond", .launch = "nosuchelement"}), "pond: no element \"nosuchelement\"");
    EXPECT_THAT(failure_of({.name = "pond", .launch = "audiotestsrc nosuch=1"}),
                testing::StartsWith("pond: no property"));
    EXPECT_THAT(failure_of({.name = "pond", .launch = ""}), testing::StartsWith("pond: "));
    EXPECT_THAT(failure_of({.name = "pond", .launch = "audiotestsrc ! ! !"}), testing::StartsWith("pond: "));
    EXPECT_THAT(failure_of({.name = "pond", .launch = "fakesrc num-buffers=1"}), testing::StartsWith("pond: "));
}

TEST(FileSource, LeavesNoSecretOfAUrlInAnError) {
    const auto line = failure_of(
        {.name = "pond", .launch = launch_for_rtsp("rtsp://keeper:sesame@127.0.0.1:1/frogs?token=abc", 100)});
    EXPECT_THAT(line, testing::StartsWith("pond: "));
    for (const char* secret : {"keeper", "sesame", "token", "abc"}) EXPECT_THAT(line, Not(HasSubstr(secret)));
    EXPECT_THAT(failure_of({.name = "pond", .launch = "http://keeper:sesame@host/?token=abc"}),
                Not(HasSubstr("sesame")));
}

TEST(FileSource, ReadsACutWavAsFarAsItGoes) {
    const TemporaryFolder folder;
    const auto path = folder / "cut.wav";
    write_wav(path, noise(2, 10'000));
    std::filesystem::resize_file(path, 44 + 4 * 7'000 + 3);  // in the middle of a frame
    const auto recording = record_file(path);
    EXPECT_EQ(recording.samples.size(), 2 * 7'000U);
}

TEST(FileSource, RefusesMoreChannelsThanCanBeConverted) {
    const auto launch = [](int channels) {
        return "audiotestsrc num-buffers=20 ! audio/x-raw,rate=16000,channel-mask=(bitmask)0,channels=" + std::to_string(channels);
    };
    EXPECT_THAT(failure_of({.name = "array", .launch = launch(64)}), HasSubstr("array: 64 channels are more than the 63"));
    const auto source = open_gstreamer_source({.name = "array", .launch = launch(63)});
    EXPECT_EQ(record(*source).channels, 63);
}

TEST(FileSource, NeverShiftsChannelsWhenBytesComeCutAnywhere) {
    const TemporaryFolder folder;
    auto wav = noise(3, 10'000);
    std::ofstream(folder / "raw", std::ios::binary)
        .write(reinterpret_cast<const char*>(wav.data.data()), static_cast<std::streamsize>(wav.data.size()));
    write_wav(folder / "a.wav", wav);
    const auto reference = read_with_libsndfile(folder / "a.wav");
    for (const int blocksize : {1, 5, 7, 4'095, 4'097, 65'536}) {
        if (blocksize == 1) wav.data.resize(600);
        const auto recording =
            record_launch("filesrc blocksize=" + std::to_string(blocksize) + " location=" + (folder / "raw").string() +
                          " ! audio/x-raw,format=S16LE,rate=48000,channels=3,layout=interleaved,"
                          "channel-mask=(bitmask)0");
        EXPECT_TRUE(recording.samples == reference) << "bytes by " << blocksize;
    }
}

TEST(FileSource, SaysThatTheFormatChangedAndGoesOn) {
    const TemporaryFolder folder;
    auto first = noise(2, 10'000);
    auto second = noise(2, 8'000);
    second.sample_rate_hz = 44'100;
    auto third = noise(1, 6'000);
    write_wav(folder / "0.wav", first);
    write_wav(folder / "1.wav", second);
    write_wav(folder / "2.wav", third);
    const auto part = [&](const char* name) {
        return " filesrc location=" + (folder / name).string() + " ! wavparse ! c.";
    };
    const auto recording = record_launch("concat name=c" + part("0.wav") + part("1.wav") + part("2.wav") + " c.");
    ASSERT_EQ(recording.gaps.size(), 2U);
    EXPECT_EQ(recording.gaps[0].reason, "format");
    EXPECT_EQ(recording.gaps[0].sample_rate_hz, 44'100);
    EXPECT_EQ(recording.samples.size(), 2 * 10'000U + 2 * 8'000U + 6'000U);
    EXPECT_EQ(recording.channels, 1);
}

TEST(FileSource, StopsWithinATenthOfASecondOfARequest) {
    const TemporaryFolder folder;
    write_wav(folder / "a.wav", noise(1, 4'800'000));
    const auto source =
        open_gstreamer_source({.name = "a", .launch = launch_for_file(folder / "a.wav"), .realtime = true});
    ASSERT_TRUE(std::holds_alternative<AudioBlock>(source->read(5s)));
    source->request_stop();
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(std::holds_alternative<EndOfStream>(source->read(10s)));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 100ms);
}

}  // namespace
}  // namespace chorus
