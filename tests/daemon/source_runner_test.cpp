// A source's whole life through the pipeline: scripted sources, and real GStreamer where it matters.

#include "daemon/source_runner.h"

#include <gmock/gmock.h>

#include <numeric>

#include "daemon/source_opener.h"
#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr int kRate = 16'000;

Config config_for(const std::string& name, bool file = false) {
    Config config;
    config.station = "test";
    config.hop_seconds = 0.25;
    config.max_batch_delay = 0ms;
    config.queue_windows = 100'000;
    config.detection.merge_gap_seconds = 0.0;
    SourceConfig source;
    source.name = name;
    source.is_file = file;
    config.sources = {source};
    return config;
}

/// A pipeline with its parts.
struct Station {
    explicit Station(Config given, SourceRunner::Opener open, Classifier* other = nullptr)
        : config(std::move(given)),
          metrics(config.station),
          pipeline(config, model_of(bundle, other ? *other : tone), sink, metrics, std::move(open)) {
        pipeline.start();
    }
    SourceReport source() const { return pipeline.sources()[0]; }
    bool reaches(SourceState state) const {
        return eventually([&] { return source().state == state; });
    }

    Config config;
    Bundle bundle = tone_bundle();
    ToneClassifier tone;
    RecordingSink sink;
    Metrics metrics;
    Pipeline pipeline;
};

/// Live, with nothing to say.
class Mute : public AudioSource {
  public:
    SourceItem read(std::chrono::milliseconds) override {
        std::this_thread::sleep_for(1ms);
        return NothingYet{};
    }
    bool is_live() const override { return true; }
    void request_stop() noexcept override {}
};

/// Plays the script, then goes on as Mute does.
class ThenMute : public ScriptedSource {
  public:
    explicit ThenMute(std::vector<SourceItem> items) : ScriptedSource(std::move(items), true) {}
    SourceItem read(std::chrono::milliseconds timeout) override {
        auto item = ScriptedSource::read(timeout);
        return std::holds_alternative<EndOfStream>(item) ? mute_.read(timeout) : item;
    }

  private:
    Mute mute_;
};

std::vector<SourceItem> script(const std::vector<std::vector<float>>& channels, int rate = kRate,
                               std::int64_t first = 0) {
    return cut_into_blocks(
        channels, rate, [=] { return static_cast<std::size_t>(rate / 8); }, first);
}

// The script with the capture time that `clock` gives each block, by its second.
std::vector<SourceItem> dated(std::vector<SourceItem> items, const std::function<UtcTime(double)>& clock) {
    for (auto& item : items) {
        if (auto* block = std::get_if<AudioBlock>(&item))
            block->capture_time = clock(static_cast<double>(block->first_sample) / block->sample_rate_hz);
    }
    return items;
}

const UtcTime kNight = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + 2h;

UtcTime at(double seconds) {
    return kNight + std::chrono::round<std::chrono::microseconds>(std::chrono::duration<double>(seconds));
}

TEST(SourceRunner, AClockThatIsSetNeitherReordersNorDoublesEvents) {
    for (const double step : {7200.0, -7200.0}) {
        // One call from 5 s to 15 s, in the middle of which the clock is set; another at 20 s.
        auto items = dated(script({noise_with_tones(kRate, 25.0, {{5.0, 15.0}, {20.0, 21.0}})}),
                           [&](double t) { return at(t + (t >= 10.0 ? step : 0.0)); });
        Station station(config_for("mic"), [&](const SourceConfig&) { return std::make_unique<ThenMute>(items); });
        ASSERT_TRUE(eventually([&] {
            return station.source().channels.size() == 1 && station.source().channels[0].samples.in == 25 * kRate;
        }));
        station.pipeline.stop(10s);

        const auto events = station.sink.events();
        std::vector<std::string> ids;
        std::int64_t last_start = -1;
        for (const auto& event : events) {
            if (event.phase == EventPhase::kOpen) {
                EXPECT_GT(event.start_sample, last_start);
                last_start = event.start_sample;
                ids.push_back(event_id(event));
            }
            EXPECT_EQ(event_id(event), ids.back()) << "every phase tells of the event opened last";
            EXPECT_GT(*event.end, *event.start);
        }
        ASSERT_EQ(ids.size(), 2U);
        EXPECT_NE(ids[0], ids[1]);
        EXPECT_LE(std::chrono::abs(*events.front().start - at(5.0)), 1s) << "the open event's start stays";
        EXPECT_LE(std::chrono::abs(*events.back().start - at(20.0 + step)), 1s) << "later sound follows the new clock";
        EXPECT_EQ(station.source().clock_steps, 1);
        EXPECT_THAT(station.metrics.text(), HasSubstr("chorus_clock_steps_total{station=\"test\",source=\"mic\"} 1"));
    }
}

TEST(SourceRunner, TellsTheRateErrorWithEventsStatusAndMetrics) {
    const double seconds = 100.0;
    auto items =
        dated(script({noise_with_tones(kRate, seconds, {{90.0, 91.0}})}), [](double t) { return at(t / (1 + 50e-6)); });
    Station station(config_for("mic"), [&](const SourceConfig&) { return std::make_unique<ThenMute>(items); });
    ASSERT_TRUE(eventually([&] { return station.source().clock_drift_ppm.has_value(); }));
    EXPECT_NEAR(*station.source().clock_drift_ppm, 50.0, 0.5);
    EXPECT_THAT(station.metrics.text(), HasSubstr("chorus_clock_drift_ppm{station=\"test\",source=\"mic\"} "));
    ASSERT_TRUE(eventually([&] { return station.sink.events().size() >= 2; }));
    const auto event = station.sink.events().front();
    ASSERT_TRUE(event.clock_drift_ppm);
    EXPECT_NEAR(*event.clock_drift_ppm, 50.0, 0.5);
    EXPECT_THAT(to_json(event), HasSubstr("\"drift_ppm\":50.0"));
}

TEST(SourceRunner, KeepsItsBooksThroughAnySequenceOfBlocksGapsAndFormats) {
    std::mt19937 random(11);
    for (int round = 0; round < 12; ++round) {
        std::vector<SourceItem> items;
        std::vector<std::int64_t> heard(4);
        std::int64_t position = 0;
        const bool live = round % 2 == 0;
        for (int part = 0; part < 6; ++part) {
            const int rate = std::vector{16'000, 22'050, 48'000}[random() % 3];
            const int channels = 1 + static_cast<int>(random() % 4);
            const auto frames = static_cast<double>(random() % 50'000) / rate;
            const std::vector<std::vector<float>> sound(static_cast<std::size_t>(channels),
                                                        noise_with_tones(rate, frames, {}));
            const auto blocks = cut_into_blocks(
                sound, rate, [&] { return random() % (random() % 2 == 0 ? 10 : 9'000); }, position);
            items.insert(items.end(), blocks.begin(), blocks.end());
            position += static_cast<std::int64_t>(sound[0].size());
            for (int c = 0; c < channels; ++c)
                heard[static_cast<std::size_t>(c)] += static_cast<std::int64_t>(sound[0].size());
            if (random() % 2 == 0) {
                const auto lost = static_cast<std::int64_t>(random() % 100'000);
                items.emplace_back(Gap{.samples = lost, .sample_rate_hz = rate, .known = true, .reason = "lost"});
                position += lost;
            }
        }
        Station station(config_for("mic", !live), [&](const SourceConfig&) -> std::unique_ptr<AudioSource> {
            if (live) return std::make_unique<ThenMute>(items);
            return std::make_unique<ScriptedSource>(items, false);
        });
        ASSERT_TRUE(eventually([&] {
            const auto channels = station.source().channels;
            return std::inner_product(
                       channels.begin(), channels.end(), heard.begin(), true, std::logical_and<>(),
                       [](const auto& channel, auto samples) { return channel.samples.in == samples; }) &&
                   !channels.empty();
        }));
        station.pipeline.stop(10s);
        const auto report = station.source();
        for (const auto& channel : report.channels) {
            EXPECT_TRUE(channel.samples.balanced());
            EXPECT_EQ(channel.samples.pending, 0);
            EXPECT_EQ(channel.samples.dropped[static_cast<std::size_t>(DropReason::kOverload)], 0);
        }
    }
}

TEST(SourceRunner, OpensAgainAStreamThatEndsThoughGStreamerDoesNotCallItLive) {
    auto config = config_for("stream");
    config.sources[0].launch = "audiotestsrc num-buffers=200 ! audio/x-raw,rate=16000,channels=2";
    Station station(config, open_source);
    ASSERT_TRUE(eventually([&] { return station.source().reconnects >= 1; }));
    EXPECT_GE(station.source().channels[1].samples.in, 200 * 1024);
}

TEST(SourceRunner, OpensAgainARealPipelineThatStallsWithoutClosing) {
    auto config = config_for("stream");
    config.silence_timeout = 1h;
    config.sources[0].silence_timeout = 500ms;
    config.sources[0].launch = "udpsrc address=127.0.0.1 port=0 ! audio/x-raw,format=S16LE,rate=8000,channels=1";
    Station station(config, open_source);
    ASSERT_TRUE(station.reaches(SourceState::kDown));
    EXPECT_EQ(station.source().error, "stream: no sound for 0.5 s");
    EXPECT_EQ(station.pipeline.ill_health(), "source stream: stream: no sound for 0.5 s");
}

TEST(SourceRunner, WaitsForACardThatIsNotThere) {
    auto config = config_for("mic");
    config.sources[0].alsa_card = "NoSuchCard";
    config.sources[0].launch = launch_for_alsa("hw:CARD=NoSuchCard");
    Station station(config, open_source);
    ASSERT_TRUE(station.reaches(SourceState::kDown));
    EXPECT_THAT(station.source().error, HasSubstr("mic: the sound card NoSuchCard is not there"));
    EXPECT_FALSE(station.pipeline.finished());
}

TEST(SourceRunner, ShowsThatItsThreadIsAliveWhileItWaits) {
    Station station(config_for("mic"),
                    [](const SourceConfig&) -> std::unique_ptr<AudioSource> { throw std::runtime_error("mic: gone"); });
    ASSERT_TRUE(station.reaches(SourceState::kDown));
    const auto seen = station.source().last_turn;
    EXPECT_TRUE(eventually([&] { return station.source().last_turn > seen + 2s; }));
    EXPECT_EQ(station.source().state, SourceState::kDown);
}

TEST(SourceRunner, IsClosedOutsideItsHours) {
    ToneClassifier classifier;
    LaneQueue<Window> queue(1, 1'000);
    std::atomic<UtcTime> now = kNight;
    std::atomic<int> opened{0}, changes{0};
    std::atomic<double> hop_factor{1};
    auto config = config_for("mic").sources[0];
    config.schedule.add("04:30..09:00", {});
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    SourceRunner runner(0, config, model_of(tone_bundle(), classifier),
                        {.open =
                             [&](const SourceConfig&) {
                                 ++opened;
                                 return std::make_unique<ThenMute>(items);
                             },
                         .queue = queue,
                         .hop_factor = hop_factor,
                         .on_end = [] {},
                         .on_state_change = [&] { ++changes; },
                         .utc_now = [&] { return now.load(); }});
    const auto reaches = [&](SourceState state) { return eventually([&] { return runner.report().state == state; }); };
    runner.start();
    ASSERT_TRUE(reaches(SourceState::kOff));
    EXPECT_EQ(opened, 0);
    now = kNight + 3h;
    ASSERT_TRUE(reaches(SourceState::kUp));
    now = kNight + 8h;
    ASSERT_TRUE(reaches(SourceState::kOff));
    now = kNight + 27h;
    ASSERT_TRUE(reaches(SourceState::kUp)) << "the next morning";
    const auto report = runner.report();
    EXPECT_EQ(opened, 2);
    EXPECT_GE(changes, 4);
    EXPECT_EQ(report.gaps, 0) << "nobody wanted to hear it";
    EXPECT_EQ(report.reconnects, 0);
    runner.request_stop();
    runner.join();
}

TEST(SourceRunner, IsDownAndHoldsUpNobodyWhileItsOpeningHangs) {
    const auto gate = std::make_shared<Gate>();
    const auto opened = std::make_shared<std::atomic<int>>(0);
    auto config = config_for("hung");
    config.silence_timeout = 300ms;
    config.sources.push_back(config.sources[0]);
    config.sources[1].name = "steady";
    config.sources[1].silence_timeout = 1h;  // its 3 s come at once
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    Station station(config, [=](const SourceConfig& source) -> std::unique_ptr<AudioSource> {
        if (source.name == "hung") {
            ++*opened;
            gate->pass();
        }
        return std::make_unique<ThenMute>(items);
    });
    ASSERT_TRUE(station.reaches(SourceState::kDown));
    EXPECT_THAT(station.source().error, HasSubstr("hung: opening it has taken "));
    EXPECT_THAT(station.pipeline.ill_health(), HasSubstr("source hung: "));
    EXPECT_TRUE(eventually([&] { return gives_sound(station.pipeline.sources()[1].state); }));
    const auto seen = station.source().last_turn;
    EXPECT_TRUE(eventually([&] { return station.source().last_turn > seen + 1s; })) << "a restart would mend nothing";
    EXPECT_EQ(*opened, 1) << "one opening at a time";

    auto without = config;
    without.sources.erase(without.sources.begin());
    const auto begun = std::chrono::steady_clock::now();
    station.pipeline.reload(without);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
    station.pipeline.reload(config);
    ASSERT_TRUE(eventually([&] { return *opened == 2; }));
    station.pipeline.stop(0ms);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
    gate->open();
}

TEST(SourceRunner, TakesTheSoundOfAnOpeningThatTookLong) {
    const auto gate = std::make_shared<Gate>();
    auto config = config_for("slow");
    config.silence_timeout = 300ms;
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    const auto opened = std::make_shared<std::atomic<int>>(0);
    Station station(config, [=](const SourceConfig&) {
        if (++*opened == 1) gate->pass();
        return std::make_unique<ThenMute>(items);
    });
    ASSERT_TRUE(station.reaches(SourceState::kDown));
    gate->open();
    ASSERT_TRUE(eventually([&] { return !station.source().channels.empty(); }));
    EXPECT_EQ(*opened, 1);
}

TEST(SourceRunner, IsNotOpenedAgainWhileItsClosingHangs) {
    class Clinging : public ThenMute {
      public:
        Clinging(std::vector<SourceItem> items, std::shared_ptr<Gate> gate)
            : ThenMute(std::move(items)), gate_(std::move(gate)) {}
        ~Clinging() override { gate_->pass(); }

      private:
        std::shared_ptr<Gate> gate_;
    };
    const auto gate = std::make_shared<Gate>();
    const auto opened = std::make_shared<std::atomic<int>>(0);
    auto config = config_for("mic");
    config.silence_timeout = 300ms;
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    Station station(config, [=](const SourceConfig&) {
        ++*opened;
        return std::make_unique<Clinging>(items, gate);
    });
    ASSERT_TRUE(eventually([&] { return station.source().error.find("closing it has taken ") != std::string::npos; }));
    EXPECT_EQ(*opened, 1);
    gate->open();
    EXPECT_TRUE(eventually([&] { return *opened == 2; }));
}

TEST(SourceRunner, EndsSoonThoughAnElementOfARealPipelineHangs) {
    auto config = config_for("stream");
    config.sources[0].launch =
        "audiotestsrc is-live=true ! audio/x-raw,rate=16000,channels=1 ! identity sleep-time=6000000";
    Station station(config, open_source);
    ASSERT_TRUE(eventually([&] { return station.source().last_turn > station.source().listening_since + 200ms; }));
    const auto begun = std::chrono::steady_clock::now();
    station.pipeline.stop(0ms);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 4s);
}

TEST(SourceRunner, CountsItsSilenceAsLost) {
    auto config = config_for("mic");
    config.silence_timeout = 2s;
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    Station station(config, [&](const SourceConfig&) { return std::make_unique<ThenMute>(items); });
    ASSERT_TRUE(eventually([&] { return station.source().reconnects >= 1; }));
    EXPECT_GE(station.source().gap_seconds, 2.0) << "from the last sound on, not from when that was noticed";
}

TEST(SourceRunner, CountsAnOutageOnceThoughWhatComesAfterItCannotBeTaken) {
    auto config = config_for("mic");
    config.silence_timeout = 1h;
    const auto good = script({noise_with_tones(kRate, 3.0, {})});
    const auto bad = script({std::vector<float>(4'000)}, 4'000);
    const auto opened = std::make_shared<std::atomic<int>>(0);
    const auto begun = std::chrono::steady_clock::now();
    Station station(config, [&, opened](const SourceConfig&) {
        return std::make_unique<ScriptedSource>(++*opened == 1 ? good : bad, true);
    });
    ASSERT_TRUE(eventually([&] { return station.source().reconnects >= 3; }));
    const auto report = station.source();
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begun;
    EXPECT_THAT(report.error, HasSubstr("4000"));
    EXPECT_LE(report.gap_seconds, all.count());
    EXPECT_GT(report.gap_seconds, 0.0);
}

TEST(SourceRunner, CountsAnOutageUpToTheEndOfItsHours) {
    ToneClassifier classifier;
    LaneQueue<Window> queue(1, 1'000);
    std::atomic<UtcTime> now = kNight;
    std::atomic<double> hop_factor{1};
    auto config = config_for("mic").sources[0];
    config.schedule.add("01:00..09:00", {});
    const auto items = script({noise_with_tones(kRate, 3.0, {})});
    SourceRunner runner(0, config, model_of(tone_bundle(), classifier),
                        {.open = [&](const SourceConfig&) { return std::make_unique<ThenMute>(items); },
                         .queue = queue,
                         .hop_factor = hop_factor,
                         .silence_timeout = 1h,
                         .utc_now = [&] { return now.load(); }});
    runner.start();
    ASSERT_TRUE(eventually([&] {
        const auto last = runner.report().last_sample;
        return last && std::chrono::steady_clock::now() - *last > 2500ms;
    }));
    now = kNight + 8h;
    ASSERT_TRUE(eventually([&] { return runner.report().state == SourceState::kOff; }));
    EXPECT_EQ(runner.report().gaps, 1);
    EXPECT_GE(runner.report().gap_seconds, 2.5);
    const auto lost = runner.report().gap_seconds;
    now = kNight + 24h;
    ASSERT_TRUE(eventually([&] { return gives_sound(runner.report().state); }));
    EXPECT_EQ(runner.report().gap_seconds, lost) << "between the hours nobody wanted to hear it";
    EXPECT_EQ(runner.report().reconnects, 0);
    runner.request_stop();
    runner.join();
}

TEST(SourceRunner, IsHealthyOutsideItsHours) {
    auto config = config_for("mic");
    const auto now = utc_now();
    const auto in = [&](std::chrono::minutes later) { return to_iso8601(now + later).substr(11, 5); };
    config.sources[0].schedule.add(in(300min) + ".." + in(600min), {});
    config.silence_timeout = 1ms;
    Station station(config, [](const SourceConfig&) { return std::make_unique<Mute>(); });
    ASSERT_TRUE(station.reaches(SourceState::kOff));
    EXPECT_EQ(station.pipeline.ill_health(), "");
    EXPECT_TRUE(station.pipeline.all_sources_heard());
    EXPECT_THAT(station.metrics.text(),
                HasSubstr("chorus_source_state{station=\"test\",source=\"mic\",state=\"off\"} 1"));
    EXPECT_THAT(station.metrics.text(), HasSubstr("chorus_source_up{station=\"test\",source=\"mic\"} 0"));
}

TEST(SourceRunner, IsDegradedByADeadChannelAndSaysWhich) {
    const auto sound = noise_with_tones(kRate, 15.0, {});
    const auto items = script({sound, std::vector<float>(sound.size())});
    Station station(config_for("array"), [&](const SourceConfig&) { return std::make_unique<ThenMute>(items); });
    ASSERT_TRUE(station.reaches(SourceState::kDegraded));
    EXPECT_EQ(station.source().error, "channel 1: dead");
    EXPECT_TRUE(station.source().channels[0].faults.none());
    EXPECT_TRUE(has(station.source().channels[1].faults, ChannelFault::kDead));
    EXPECT_EQ(station.pipeline.ill_health(), "") << "the other channel is heard";
    const auto text = station.metrics.text();
    EXPECT_THAT(text,
                HasSubstr("chorus_channel_fault{station=\"test\",source=\"array\",channel=\"1\",fault=\"dead\"} 1"));
    EXPECT_THAT(text,
                HasSubstr("chorus_channel_fault{station=\"test\",source=\"array\",channel=\"0\",fault=\"dead\"} 0"));
    EXPECT_THAT(text, HasSubstr("chorus_source_up{station=\"test\",source=\"array\"} 1"));
}

TEST(SourceRunner, BooksWhatABrokenAnalysisRefusesAsErrors) {
    class Broken : public ToneClassifier {
        void score(std::span<const std::span<const float>>, std::span<float> scores) override {
            std::fill(scores.begin(), scores.end(), NAN);
        }
    } broken;
    for (const bool live : {true, false}) {
        const auto items = script({noise_with_tones(kRate, 20.0, {})});
        Station station(
            config_for("mic", !live),
            [&](const SourceConfig&) -> std::unique_ptr<AudioSource> {
                if (live) return std::make_unique<ThenMute>(items);
                return std::make_unique<ScriptedSource>(items, false);
            },
            &broken);
        ASSERT_TRUE(station.pipeline.wait_finished(60s));
        ASSERT_TRUE(eventually([&] { return station.source().channels[0].samples.in == 20 * kRate; }));
        station.pipeline.stop(0ms);
        const auto samples = station.source().channels[0].samples;
        EXPECT_TRUE(samples.balanced());
        EXPECT_EQ(samples.pending, 0);
        EXPECT_EQ(samples.analysed, 0);
        EXPECT_EQ(samples.dropped[static_cast<std::size_t>(DropReason::kOverload)], 0);
        EXPECT_GT(samples.dropped[static_cast<std::size_t>(DropReason::kError)], 15 * kRate);
    }
}

}  // namespace
}  // namespace chorus
