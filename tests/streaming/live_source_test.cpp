#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <thread>

#include "recording.h"
#include "streaming/audio_source.h"
#include "streaming/gst_ptr.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using namespace testing_tools;
using testing::IsEmpty;
using testing::Not;

std::unique_ptr<AudioSource> open_launch(const std::string& launch) {
    return open_gstreamer_source({.name = "source", .launch = launch});
}

// A sine whose every sample tells its index, as audiotestsrc computes it.
constexpr double kFrequency = 1.0;
constexpr std::int64_t kBuffer = 800;
constexpr int kRate = 8'000;
constexpr const char* kSine =
    "audiotestsrc is-live=true freq=1 volume=1 samplesperbuffer=800 ! audio/x-raw,format=F32LE,rate=8000,channels=2";

float sine_at(std::int64_t index) {
    return static_cast<float>(std::sin(2 * std::numbers::pi * kFrequency * static_cast<double>(index + 1) / kRate));
}

TEST(LiveSource, IsLiveAndNumbersItsSamples) {
    const auto source = open_launch(kSine);
    EXPECT_TRUE(source->is_live());
    const auto recording = record(*source, kRate / 2);
    EXPECT_EQ(recording.channels, 2);
    EXPECT_THAT(recording.gaps, IsEmpty());
    for (std::int64_t i = 0; i < kRate / 2; ++i) {
        ASSERT_NEAR(recording.samples[static_cast<std::size_t>(2 * i)], sine_at(i), 1e-3) << i;
    }
}

TEST(LiveSource, SaysWhenItsSoundWasCaptured) {
    const auto before = std::chrono::system_clock::now();
    const auto source = open_launch(kSine);
    const auto recording = record(*source, kRate / 2);
    const auto after = std::chrono::system_clock::now();
    const auto first = recording.blocks.front().capture_time;
    ASSERT_TRUE(first);
    EXPECT_GE(*first, before - 200ms);
    for (const auto& block : recording.blocks) {
        ASSERT_TRUE(block.capture_time);
        EXPECT_LE(*block.capture_time, after);
        const std::chrono::duration<double> since_first = *block.capture_time - *first;
        EXPECT_NEAR(since_first.count(), static_cast<double>(block.first_sample) / kRate, 0.02);
    }
}

TEST(LiveSource, JumpsOverLostSamplesSoThatIndicesStayTrue) {
    const auto source = open_launch(std::string(kSine) + " ! identity drop-probability=0.3");
    const auto recording = record(*source, kRate * 2);
    ASSERT_THAT(recording.gaps, Not(IsEmpty()));
    for (const auto& gap : recording.gaps) {
        EXPECT_EQ(gap.reason, "lost");
        EXPECT_EQ(gap.samples % kBuffer, 0);
        EXPECT_EQ(gap.sample_rate_hz, kRate);
    }
    // What was lost before the first block can't be known, so the first block's phase tells where it begins.
    std::int64_t begin = 0;
    const auto& first = recording.blocks.front().samples;
    while (begin < kRate && std::abs(first[0] - sine_at(begin)) + std::abs(first[400] - sine_at(begin + 200)) > 1e-3) {
        begin += kBuffer;
    }
    for (const auto& block : recording.blocks) {
        for (std::int64_t i = 0; i < block.frames(); ++i) {
            ASSERT_NEAR(block.samples[static_cast<std::size_t>(2 * i)], sine_at(begin + block.first_sample + i), 1e-3);
        }
    }
}

TEST(LiveSource, LosesTheOldestSoundWhenNobodyReadsAndCountsIt) {
    // Live in name only: it makes 60 s of a ramp at once, so that every sample tells its index.
    constexpr std::int64_t kTotal = 600 * kBuffer;
    const auto index_of = [](float ramp) { return std::llround((ramp < 0 ? ramp + 2.0 : ramp) / 2 * kTotal) - 1; };
    const auto source = open_launch(
        "audiotestsrc is-live=true num-buffers=2 ! fakesink audiotestsrc wave=saw freq=0.016666666666666666 volume=1 "
        "num-buffers=600 samplesperbuffer=800 ! audio/x-raw,format=F32LE,rate=8000,channels=1");
    EXPECT_TRUE(source->is_live());
    const auto recording = record(*source);
    EXPECT_TRUE(recording.ended);
    EXPECT_LT(static_cast<std::int64_t>(recording.samples.size()), kTotal);

    // What was lost before the first block has no index; on a busy machine that is all that is lost.
    const auto begin = index_of(recording.blocks.front().samples.front());
    for (const auto& block : recording.blocks) {
        ASSERT_EQ(begin + block.first_sample, index_of(block.samples.front()));
    }
    auto counted = static_cast<std::int64_t>(recording.samples.size());
    for (const auto& gap : recording.gaps) counted += gap.samples;
    EXPECT_EQ(begin + counted, kTotal);
}

TEST(LiveSource, LosesNothingThatNoClockPacesWhileNobodyReads) {
    // A minute of sound at once, as a TCP stream gives after its reader stood still.
    const auto source = open_gstreamer_source({.name = "source",
                                               .launch = "audiotestsrc wave=saw num-buffers=600 samplesperbuffer=800 ! "
                                                         "audio/x-raw,format=F32LE,rate=8000,channels=1",
                                               .live = true});
    EXPECT_TRUE(source->is_live());
    std::this_thread::sleep_for(500ms);
    const auto recording = record(*source);
    EXPECT_THAT(recording.gaps, IsEmpty());
    EXPECT_EQ(static_cast<std::int64_t>(recording.samples.size()), 600 * kBuffer);
}

TEST(LiveSource, SaysWhenItsSoundArrivedHoweverLateItIsRead) {
    const auto source = open_launch(kSine);
    std::this_thread::sleep_for(600ms);
    const auto item = source->read(5s);
    const auto* block = std::get_if<AudioBlock>(&item);
    ASSERT_NE(block, nullptr);
    EXPECT_LT(block->received, std::chrono::steady_clock::now() - 200ms);
}

TEST(LiveSource, SaysNothingYetWhileNothingComes) {
    const auto source = open_launch("udpsrc address=127.0.0.1 port=0 ! audio/x-raw,format=S16LE,rate=8000,channels=1");
    EXPECT_TRUE(source->is_live());
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(std::holds_alternative<NothingYet>(source->read(50ms)));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
    EXPECT_TRUE(std::holds_alternative<NothingYet>(source->read(0ms)));
}

TEST(LiveSource, StopsWithinATenthOfASecondOfARequestFromAnotherThread) {
    const auto source = open_launch("udpsrc address=127.0.0.1 port=0 ! audio/x-raw,format=S16LE,rate=8000,channels=1");
    std::chrono::steady_clock::time_point requested;
    std::jthread stopper([&] {
        requested = std::chrono::steady_clock::now();
        source->request_stop();
    });
    EXPECT_TRUE(std::holds_alternative<EndOfStream>(source->read(30s)));
    const auto returned = std::chrono::steady_clock::now();
    stopper.join();
    EXPECT_LT(returned - requested, 100ms);
}

TEST(LiveSource, EndsWhenItsPipelineEnds) {
    const auto recording = record(*open_launch("audiotestsrc is-live=true num-buffers=3 ! audio/x-raw,rate=48000"));
    EXPECT_TRUE(recording.ended);
    EXPECT_EQ(recording.samples.size(), 3 * 1024U);
}

TEST(LiveSource, CarriesSixteenChannelsThatHaveNoPositions) {
    const auto source = open_launch("audiotestsrc is-live=true ! audio/x-raw,format=S32LE,rate=48000,channels=16");
    EXPECT_EQ(record(*source, 4'800).channels, 16);
}

int free_udp_port() {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int port = -1;
    if (bind(socket_fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
        port = ntohs(address.sin_port);
    }
    close(socket_fd);
    return port;
}

// A pipeline that plays while this lives.
class Sender {
  public:
    explicit Sender(const std::string& launch) : pipeline_(gst_parse_launch(launch.c_str(), nullptr)) {
        gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
    }
    ~Sender() { gst_element_set_state(pipeline_.get(), GST_STATE_NULL); }
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

  private:
    gst::ElementPtr pipeline_;
};

TEST(RtpSource, ReceivesEveryChannelOfL16) {
    const int port = free_udp_port();
    const auto source =
        open_launch(launch_for_rtp({.port = port, .encoding = "L16", .rate_hz = 48'000, .channels = 4}));
    EXPECT_TRUE(source->is_live());
    // Each channel has its own level.
    const Sender sender(
        "interleave name=i channel-positions-from-input=false ! audioconvert ! audio/x-raw,format=S16BE,channels=4 ! "
        "rtpL16pay ! "
        "udpsink host=127.0.0.1 port=" +
        std::to_string(port) +
        " audiotestsrc is-live=true wave=square freq=100 volume=0.1 ! audio/x-raw,rate=48000,channels=1 ! i."
        " audiotestsrc is-live=true wave=square freq=100 volume=0.2 ! audio/x-raw,rate=48000,channels=1 ! i."
        " audiotestsrc is-live=true wave=square freq=100 volume=0.3 ! audio/x-raw,rate=48000,channels=1 ! i."
        " audiotestsrc is-live=true wave=square freq=100 volume=0.4 ! audio/x-raw,rate=48000,channels=1 ! i.");
    const auto recording = record(*source, 24'000);
    EXPECT_EQ(recording.channels, 4);
    EXPECT_EQ(recording.sample_rate_hz, 48'000);
    EXPECT_THAT(recording.gaps, IsEmpty());
    for (std::size_t i = 0; i < recording.samples.size(); ++i) {
        ASSERT_NEAR(std::abs(recording.samples[i]), 0.1 * static_cast<double>(1 + i % 4), 0.002) << i;
    }
    EXPECT_TRUE(recording.blocks.front().capture_time);
}

TEST(RtpSource, ReceivesOpus) {
    const int port = free_udp_port();
    const auto source = open_launch(launch_for_rtp({.port = port, .encoding = "OPUS", .channels = 2}));
    const Sender sender(
        "audiotestsrc is-live=true volume=0.5 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay ! "
        "udpsink host=127.0.0.1 port=" +
        std::to_string(port));
    const auto recording = record(*source, 24'000);
    EXPECT_EQ(recording.sample_rate_hz, 48'000);
    EXPECT_EQ(recording.channels, 2);
    const auto loudest = *std::max_element(recording.samples.begin(), recording.samples.end());
    EXPECT_NEAR(loudest, 0.5, 0.1);
}

}  // namespace
}  // namespace chorus
