// Sources that fail as they do in the field, each beside one that nothing is done to.

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "tests/end_to_end/station.h"
#include "tests/end_to_end/tcp_proxy.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string source(const std::string& name, const std::string& sound) {
    return fmt::format("[[source]]\nname = '{}'\n{}\n", name, sound);
}

std::string rtsp_source(int port) {
    return source("camera", fmt::format("rtsp = 'rtsp://127.0.0.1:{}/audio'\nlatency_ms = 100", port));
}

std::string rtp_source(int port) {
    return source("array", fmt::format("rtp = {{ port = {}, rate_hz = 16000, channels = 2 }}", port));
}

std::vector<std::string> rtp_sender(int port) {
    return gst_launch(
        fmt::format("audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,format=S16BE,rate=16000,"
                    "channels=2 ! rtpL16pay ! udpsink host=127.0.0.1 port={}",
                    port));
}

std::string tcp_source(int port) {
    return source("array", fmt::format("launch = 'tcpclientsrc host=127.0.0.1 port={} ! rawaudioparse pcm-format=s16le "
                                       "sample-rate=16000 num-channels=1'",
                                       port));
}

std::vector<std::string> tcp_sender(int port) {
    return gst_launch(
        fmt::format("audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,format=S16LE,rate=16000,"
                    "channels=1 ! tcpserversink host=127.0.0.1 port={}",
                    port));
}

/// A port of 127.0.0.1 whose queue of connections is full: further ones are neither taken nor refused.
class FullPort {
  public:
    FullPort() {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        for (int& fd : fds_) fd = socket(AF_INET, SOCK_STREAM, 0);
        EXPECT_EQ(bind(fds_[0], any, size), 0);
        EXPECT_EQ(listen(fds_[0], 0), 0);
        EXPECT_EQ(getsockname(fds_[0], any, &size), 0);
        port_ = ntohs(address.sin_port);
        for (std::size_t i = 1; i < fds_.size(); ++i) {
            fcntl(fds_[i], F_SETFL, O_NONBLOCK);
            static_cast<void>(connect(fds_[i], any, size));
        }
    }
    ~FullPort() {
        for (const int fd : fds_) close(fd);
    }
    FullPort(const FullPort&) = delete;
    FullPort& operator=(const FullPort&) = delete;
    int port() const { return port_; }

  private:
    std::array<int, 5> fds_{};
    int port_ = 0;
};

/// Where systemd would listen.
class NotifySocket {
  public:
    explicit NotifySocket(const fs::path& path) : fd_(socket(AF_UNIX, SOCK_DGRAM, 0)), path_(path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        const timeval patience{.tv_sec = 30, .tv_usec = 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~NotifySocket() { close(fd_); }
    NotifySocket(const NotifySocket&) = delete;
    NotifySocket& operator=(const NotifySocket&) = delete;

    std::string variable() const { return "NOTIFY_SOCKET=" + path_.string(); }
    /// The next message; empty when none comes in time.
    std::string receive() const {
        std::string text(4096, '\0');
        text.resize(static_cast<std::size_t>(std::max<ssize_t>(recv(fd_, text.data(), text.size(), 0), 0)));
        return text;
    }

  private:
    int fd_;
    fs::path path_;
};

// What every fault of a source must leave alone.
class FaultOfASource : public testing::Test {
  protected:
    static bool is_up(const Scrape& scrape, const std::string& name) {
        return scrape.sum("chorus_source_up", {{"source", name}}) == 1;
    }
    static bool is_down(const Scrape& scrape, const std::string& name) {
        return scrape.sum("chorus_source_up", {{"source", name}}) == 0;
    }
    // The fault is noticed and the other source goes on; after `mend` the source comes back and is heard.
    static void expect_down_and_back(Station& station, const std::string& name, const std::function<void()>& harm,
                                     const std::function<void()>& mend) {
        ASSERT_TRUE(station.until_events(name, 2, 60s));
        harm();
        ASSERT_TRUE(station.until(name + " is down", [&](const Scrape& scrape) { return is_down(scrape, name); }));
        EXPECT_THAT(station.health(), testing::StartsWith("HTTP/1.1 503 "));
        EXPECT_THAT(station.health(), HasSubstr("source " + name));
        EXPECT_THAT(station.daemon().err(), HasSubstr("; trying again in "));
        EXPECT_TRUE(station.until_events("steady", 4));
        mend();
        ASSERT_TRUE(station.until(
            name + " is up", [&](const Scrape& scrape) { return is_up(scrape, name); }, 60s));
        EXPECT_TRUE(station.until_events(name, 2, 60s));
        EXPECT_GE(station.last_scrape().sum("chorus_source_reconnects_total", {{"source", name}}), 1);
        EXPECT_GT(station.last_scrape().sum("chorus_gap_seconds_total", {{"source", name}}), 0);
        expect_dated(station, name);
        expect_steady_unharmed(station);
    }
    // Whether GStreamer calls the source live or not: events have times, which go on, and no id comes twice.
    static void expect_dated(const Station& station, const std::string& name) {
        std::set<std::string> opened;
        std::string last;
        for (const auto& [seq, event] : station.seen()) {
            if (event["source"] != name || event["phase"] != "open") continue;
            EXPECT_TRUE(opened.insert(event["id"]).second) << event.dump();
            ASSERT_TRUE(event["start"].is_string()) << event.dump();
            EXPECT_LE(last, event["start"].get<std::string>());
            last = event["start"];
        }
        EXPECT_GE(opened.size(), 2U) << "before the fault and after it";
    }
    static void expect_steady_unharmed(Station& station) {
        EXPECT_EQ(station.last_scrape().sum("chorus_source_reconnects_total", {{"source", "steady"}}), 0);
        EXPECT_EQ(station.last_scrape().sum("chorus_gaps_total", {{"source", "steady"}}), 0);
        EXPECT_EQ(station.last_scrape().sum("chorus_samples_dropped_total", {{"source", "steady"}}), 0);
        station.stop();
        expect_whole_journal(station);
    }
};

TEST_F(FaultOfASource, RtpThatStallsIsDownByItsSilenceAndComesBack) {
    const int port = free_port();
    Station station(rtp_source(port) + kSteady);
    Process sender(rtp_sender(port), station.folder());
    station.start();
    expect_down_and_back(
        station, "array", [&] { sender.signal(SIGSTOP); }, [&] { sender.signal(SIGCONT); });
}

TEST_F(FaultOfASource, ATcpConnectionThatStallsWithoutClosingIsOpenedAgain) {
    const int port = free_port();
    Station station(tcp_source(port) + kSteady);
    Process sender(tcp_sender(port), station.folder());
    station.start();
    expect_down_and_back(
        station, "array", [&] { sender.signal(SIGSTOP); }, [&] { sender.signal(SIGCONT); });
}

TEST_F(FaultOfASource, AHalfOpenRtspConnectionIsOpenedAgain) {
    const int port = free_port();
    TcpProxy proxy(port);
    Station station(rtsp_source(proxy.port()) + kSteady);
    Process server({RTSP_SERVER, std::to_string(port), "16000", "1"}, station.folder());
    ASSERT_TRUE(server.wait_for_line("listening on ", 20s));
    station.start();
    expect_down_and_back(
        station, "camera", [&] { proxy.forward(false); }, [&] { proxy.forward(true); });
}

TEST_F(FaultOfASource, AnRtspServerThatWasKilledComesBackWithAnotherRateAndChannelCount) {
    const int port = free_port();
    Station station(rtsp_source(port) + kSteady);
    auto server = std::make_unique<Process>(std::vector<std::string>{RTSP_SERVER, std::to_string(port), "16000", "1"},
                                            station.folder());
    ASSERT_TRUE(server->wait_for_line("listening on ", 20s));
    station.start();
    expect_down_and_back(
        station, "camera", [&] { server.reset(); },
        [&] {
            server = std::make_unique<Process>(
                std::vector<std::string>{RTSP_SERVER, std::to_string(port), "48000", "2"}, station.folder());
        });
    const auto& last = station.seen().rbegin();
    EXPECT_TRUE(std::any_of(station.seen().begin(), station.seen().end(), [](const auto& each) {
        return each.second["source"] == "camera" && each.second["channel"] == 1 &&
               each.second["sample_rate_hz"] == 48000;
    })) << last->second.dump();
}

TEST_F(FaultOfASource, ASenderThatWasKilledIsWaitedFor) {
    const int port = free_port();
    Station station(tcp_source(port) + kSteady);
    auto sender = std::make_unique<Process>(tcp_sender(port), station.folder());
    station.start();
    expect_down_and_back(
        station, "array", [&] { sender.reset(); },
        [&] { sender = std::make_unique<Process>(tcp_sender(port), station.folder()); });
}

TEST_F(FaultOfASource, AHostThatAnswersNothingHoldsUpNeitherOthersNorReloadNorStop) {
    const FullPort host;
    Station station(tcp_source(host.port()) + kSteady);
    station.start();
    ASSERT_TRUE(station.until_logged("array: opening it has taken "));
    EXPECT_THAT(station.health(), testing::StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(station.health(), HasSubstr("source array: array: opening it has taken "));
    EXPECT_TRUE(station.until_events("steady", 4));
    station.write_config(std::string(kSteady) + tcp_source(host.port()) + "silence_timeout_seconds = 0.5\n");
    station.daemon().signal(SIGHUP);
    ASSERT_TRUE(station.until(
        "the reload is applied",
        [](const Scrape& scrape) {
            return scrape.sum("chorus_config_reloads_total", {{"result", "applied"}}) == 1;
        },
        5s));
    ASSERT_TRUE(station.until("the new one is down", [&](const Scrape& scrape) { return is_down(scrape, "array"); }));
    EXPECT_TRUE(station.until_events("steady", 4));
    expect_steady_unharmed(station);
}

TEST_F(FaultOfASource, TheServiceIsReadyWithoutSoundAndSaysSo) {
    Station station(source("array",
                           "launch = 'udpsrc address=127.0.0.1 port=0 ! "
                           "audio/x-raw,format=S16LE,rate=8000,channels=1'"));
    const NotifySocket manager(station.folder() / "notify");
    station.start({manager.variable()});
    std::string status;
    for (auto text = manager.receive(); text != "READY=1"; text = manager.receive()) {
        ASSERT_NE(text, "") << "never ready";
        if (text.starts_with("STATUS=")) status = text;
    }
    EXPECT_THAT(status, HasSubstr("no sound yet"));
    EXPECT_THAT(status, HasSubstr("array: no sound for 1 s"));
    station.stop();
}

TEST_F(FaultOfASource, RateAndChannelCountMayChangeWhileItRuns) {
    Station station(
        source("array",
               "launch = '''concat name=both "
               "audiotestsrc is-live=true wave=pink-noise num-buffers=40 samplesperbuffer=800 ! "
               "audio/x-raw,rate=16000,channels=1 ! both. "
               "audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=44100,channels=3 ! both. both.'''") +
        kSteady);
    station.start();
    ASSERT_TRUE(station.until("the third channel is analysed", [](const Scrape& scrape) {
        return scrape.sum("chorus_samples_analysed_total", {{"source", "array"}, {"channel", "2"}}) > 0;
    }));
    EXPECT_TRUE(station.until_events("array", 6));
    EXPECT_EQ(station.last_scrape().sum("chorus_source_reconnects_total", {{"source", "array"}}), 0);
    std::map<int, int> events_at_rate;
    for (const auto& [seq, event] : station.seen()) {
        if (event["source"] == "array") ++events_at_rate[event["sample_rate_hz"]];
    }
    EXPECT_GT(events_at_rate[16000], 0);
    EXPECT_GT(events_at_rate[44100], 0);
    expect_steady_unharmed(station);
}

TEST_F(FaultOfASource, BlocksOfAnySizeCutAnywhereGiveTheSameEvents) {
    // The same sound, which is another in each channel, whole and cut within samples. Both go on for ever, so what both
    // have said is compared.
    const std::string sound =
        "interleave name=all channel-positions-from-input=false "
        "audiotestsrc is-live=true wave=saw freq=0.7 ! audio/x-raw,format=S16LE,rate=16000,channels=1 ! all. "
        "audiotestsrc is-live=true wave=triangle freq=2.9 ! "
        "audio/x-raw,format=S16LE,rate=16000,channels=1 ! all. "
        "audiotestsrc is-live=true wave=square freq=1.3 ! "
        "audio/x-raw,format=S16LE,rate=16000,channels=1 ! all. "
        "all.";
    const std::string sections = source("whole", "launch = '" + sound + "'") +
                                 source("cut", "launch = '" + sound + " ! rndbuffersize min=1 max=4999 seed=7'");
    // GStreamer's interleave deadlocks now and then while it starts (it holds its lock while it asks for caps, which the
    // bin takes the other way round). The daemon says that the opening hangs; then it is begun anew.
    std::unique_ptr<Station> begun;
    const auto hangs = [&] { return begun->daemon().err().find("opening it has taken") != std::string::npos; };
    for (int attempt = 0; attempt < 6 && (!begun || hangs()); ++attempt) {
        begun = std::make_unique<Station>(sections);
        begun->start();
        ASSERT_TRUE(begun->until("both are open", [&](const Scrape& scrape) {
            return (is_up(scrape, "whole") && is_up(scrape, "cut")) || hangs();
        }));
    }
    Station& station = *begun;
    ASSERT_TRUE(station.until_events("whole", 30));
    ASSERT_TRUE(station.until_events("cut", 30));
    station.stop();
    std::map<std::string, std::map<std::pair<int, std::int64_t>, double>> means;
    for (const auto& [seq, event] : station.seen()) {
        if (event["phase"] != "close")
            means[event["source"]][{event["channel"], event["end_sample"]}] = event["mean_score"];
    }
    int compared = 0;
    for (const auto& [place, mean] : means["cut"]) {
        const auto whole = means["whole"].find(place);
        if (whole == means["whole"].end()) continue;
        EXPECT_EQ(whole->second, mean) << "channel " << place.first << " to sample " << place.second;
        ++compared;
    }
    EXPECT_GE(compared, 20);
    expect_whole_journal(station);
}

TEST_F(FaultOfASource, AClockThatIsSetNeitherReordersNorDoublesEvents) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "what sets the clock must be loaded first, and so must AddressSanitizer";
#endif
    constexpr const char* kLibrary = "/usr/$LIB/faketime/libfaketime.so.1";
    const int port = free_port();
    Station station(rtp_source(port) + kSteady);
    const auto time = station.folder() / "time";
    std::ofstream(time) << "+0\n";
    auto sender = std::make_unique<Process>(rtp_sender(port), station.folder());
    station.start({std::string("LD_PRELOAD=") + kLibrary, "FAKETIME_TIMESTAMP_FILE=" + time.string(),
                   "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"});
    ASSERT_TRUE(station.until_events("steady", 4));
    ASSERT_TRUE(station.until_events("array", 4));
    // When the source's latest event began.
    const auto day_of = [&](const std::string& name) {
        for (auto each = station.seen().rbegin(); each != station.seen().rend(); ++each) {
            if (each->second["source"] == name) return each->second["start"].get<std::string>().substr(0, 10);
        }
        return std::string();
    };
    const auto today = day_of("array");
    int steps = 0;
    for (const char* step : {"+10d", "-10d"}) {
        const auto before = day_of("array");
        std::ofstream(time) << step << '\n';
        ++steps;
        ASSERT_TRUE(station.until("both sources have noticed", [&](const Scrape& scrape) {
            return scrape.sum("chorus_clock_steps_total", {{"source", "array"}}) == steps &&
                   scrape.sum("chorus_clock_steps_total", {{"source", "steady"}}) == steps;
        }));
        // What began before keeps its start; what begins from now on has the new time.
        EXPECT_TRUE(station.until_events("steady", 4));
        EXPECT_EQ(day_of("steady"), today);
        sender.reset();
        ASSERT_TRUE(station.until("array is down", [&](const Scrape& scrape) { return is_down(scrape, "array"); }));
        sender = std::make_unique<Process>(rtp_sender(port), station.folder());
        ASSERT_TRUE(station.until("array is up", [&](const Scrape& scrape) { return is_up(scrape, "array"); }));
        ASSERT_TRUE(station.until_events("array", 4));
        EXPECT_NE(day_of("array"), today);
        EXPECT_NE(day_of("array"), before);
    }
    expect_steady_unharmed(station);
}

}  // namespace
}  // namespace chorus
