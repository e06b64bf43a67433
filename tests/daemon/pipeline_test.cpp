#include "daemon/pipeline.h"

#include <gmock/gmock.h>

#include <set>

#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Config config_for(bool file, double hop_seconds = 0.25) {
    Config config;
    config.station = "test";
    config.hop_seconds = hop_seconds;
    config.max_batch_delay = 0ms;
    config.detection.merge_gap_seconds = 0.0;
    SourceConfig source;
    source.name = "script";
    source.is_file = file;
    config.sources = {source};
    return config;
}

struct Outcome {
    std::vector<Event> events;
    SourceReport source;
};

Outcome analyse(const Config& config, const std::vector<SourceItem>& items, bool live = false,
                const Bundle& bundle = tone_bundle()) {
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics,
                      [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, live); });
    pipeline.start();
    EXPECT_TRUE(pipeline.wait_finished(60s));
    pipeline.rethrow_failure();
    return {sink.events(), pipeline.sources()[0]};
}

// A live source that plays the script and is gone then.
SourceRunner::Opener once(const std::vector<SourceItem>& items) {
    return [items, opened = std::make_shared<std::atomic<int>>(0)](const SourceConfig&) {
        if ((*opened)++ > 0) throw std::runtime_error("script: the device is gone");
        return std::make_unique<ScriptedSource>(items, true);
    };
}

bool goes_down(const Pipeline& pipeline) {
    const auto down = [&] { return pipeline.sources()[0].state == SourceState::kDown; };
    for (int i = 0; i < 6000 && !down(); ++i) std::this_thread::sleep_for(10ms);
    return down();
}

// Messages of one channel, without what the wall clock says.
std::vector<std::string> messages(const std::vector<Event>& events, int channel) {
    std::vector<std::string> lines;
    for (Event event : events) {
        event.latency_ms.reset();
        if (event.channel == channel) lines.push_back(to_json(event));
    }
    return lines;
}

TEST(Pipeline, FindsEachCallOnItsChannel) {
    const int rate = 48'000;
    const auto outcome = analyse(config_for(true), cut_into_blocks({noise_with_tones(rate, 6.3, {{1.0, 2.0}}, 1),
                                                                    noise_with_tones(rate, 6.3, {{3.0, 4.0}}, 2),
                                                                    noise_with_tones(rate, 6.3, {}, 3)},
                                                                   rate, [] { return std::size_t{4800}; }));
    std::vector<Event> closed;
    for (const auto& event : outcome.events) {
        if (event.phase == EventPhase::kClose) closed.push_back(event);
    }
    ASSERT_EQ(closed.size(), 2U);
    std::sort(closed.begin(), closed.end(), [](const auto& a, const auto& b) { return a.channel < b.channel; });
    EXPECT_EQ(closed[0].channel, 0);
    EXPECT_LT(closed[0].start_sample, 2 * rate);
    EXPECT_GT(closed[0].end_sample, 1 * rate);
    EXPECT_EQ(closed[1].channel, 1);
    EXPECT_LT(closed[1].start_sample, 4 * rate);
    EXPECT_GT(closed[1].end_sample, 3 * rate);
    ASSERT_EQ(outcome.source.channels.size(), 3U);
    for (const auto& channel : outcome.source.channels) {
        EXPECT_TRUE(channel.samples.balanced());
        EXPECT_EQ(channel.samples.in, 302'400);
        EXPECT_EQ(channel.samples.analysed, 302'400)
            << "the tail is analysed by a window that ends with the last sample";
        EXPECT_EQ(channel.samples.pending, 0);
    }
}

TEST(Pipeline, GivesTheSameEventsForAnyBlockSizes) {
    std::mt19937 random(3);
    for (const int rate : {16'000, 22'050, 44'100, 48'000}) {
        const std::vector<std::vector<float>> sound = {noise_with_tones(rate, 5.21, {{0.7, 1.7}, {3.5, 4.5}}, 1),
                                                       noise_with_tones(rate, 5.21, {{2.0, 3.0}}, 2)};
        const auto whole = analyse(config_for(true), cut_into_blocks(sound, rate, [] { return std::size_t{1} << 30; }));
        EXPECT_GE(whole.events.size(), 6U);
        for (int round = 0; round < 2; ++round) {
            const auto cut = analyse(
                config_for(true), cut_into_blocks(sound, rate, [&] { return random() % (round == 0 ? 50 : 20'000); }));
            for (int channel = 0; channel < 2; ++channel)
                EXPECT_EQ(messages(cut.events, channel), messages(whole.events, channel)) << rate;
        }
    }
}

// Which event of a group is its first depends on the order over all channels.
TEST(Pipeline, GroupsChannelsTheSameWayForAnyBlockSizes) {
    const int rate = 22'050;
    const std::vector<std::vector<float>> sound = {noise_with_tones(rate, 12.3, {{1.0, 2.0}, {9.0, 11.0}}, 1),
                                                   noise_with_tones(rate, 12.3, {{1.1, 2.1}, {5.0, 6.0}}, 2),
                                                   noise_with_tones(rate, 12.3, {{0.9, 1.9}, {9.2, 10.0}}, 3)};
    auto config = config_for(true);
    config.detection.group_seconds = 0.5;
    const auto all_messages = [&](const std::function<std::size_t()>& size) {
        std::vector<std::string> lines;
        for (const auto& event : analyse(config, cut_into_blocks(sound, rate, size)).events)
            lines.push_back(to_json(event));
        return lines;
    };
    const auto whole = analyse(config, cut_into_blocks(sound, rate, [] { return std::size_t{1} << 30; }));
    std::map<std::string, std::set<int>> channels;
    for (const auto& event : whole.events) {
        ASSERT_TRUE(event.group);
        channels[event.group->id].insert(event.channel);
    }
    std::vector<std::set<int>> groups;
    for (const auto& [id, members] : channels) groups.push_back(members);
    EXPECT_THAT(groups, testing::UnorderedElementsAre(std::set{0, 1, 2}, std::set{1}, std::set{0, 2}));
    const auto first = all_messages([] { return std::size_t{1} << 30; });
    std::mt19937 random(4);
    for (const unsigned largest : {300U, 20'000U, 100'000U})
        EXPECT_EQ(all_messages([&] { return random() % largest; }), first) << largest;
    config.detection.group_seconds = 0.0;
    for (const auto& event : analyse(config, cut_into_blocks(sound, rate, [] { return std::size_t{8000}; })).events)
        EXPECT_FALSE(event.group);
}

// Takes the scores that are published.
class ScoresSink : public RecordingSink {
  public:
    void on_scores(const std::string&, const Window&, std::span<const float> scores) override {
        scores_.push_back(scores[0]);
    }
    std::vector<float> scores_;
};

// The messages of all channels in the order in which they were told.
std::vector<std::string> all_messages(const std::vector<Event>& events) {
    std::vector<std::string> lines;
    for (Event event : events) {
        event.latency_ms.reset();
        lines.push_back(to_json(event));
    }
    return lines;
}

TEST(Pipeline, GivesTheSameEventsInTheSameOrderForAnyNumberOfThreads) {
    const int rate = 16'000;
    const auto items = cut_into_blocks({noise_with_tones(rate, 20.3, {{1.0, 2.0}, {9.0, 11.0}}, 1),
                                        noise_with_tones(rate, 20.3, {{1.1, 2.1}, {5.0, 6.0}}, 2),
                                        noise_with_tones(rate, 20.3, {{0.9, 1.9}, {9.2, 17.0}}, 3)},
                                       rate, [] { return std::size_t{4800}; });
    const Bundle bundle = tone_bundle();
    const auto run = [&](int threads) {
        auto config = config_for(true);
        config.threads = threads;
        config.detection.group_seconds = 0.5;
        config.detection.update_seconds = 1.0;
        UnevenToneClassifier classifier;
        ScoresSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics,
                          [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
        EXPECT_EQ(pipeline.analysis_threads(), static_cast<std::size_t>(threads));
        pipeline.start();
        EXPECT_TRUE(pipeline.wait_finished(60s));
        pipeline.rethrow_failure();
        const auto source = pipeline.sources().at(0);
        for (const auto& channel : source.channels) {
            EXPECT_TRUE(channel.samples.balanced());
            EXPECT_EQ(channel.samples.analysed, 203 * rate / 10);
        }
        return std::pair(all_messages(sink.events()), sink.scores_);
    };
    const auto alone = run(1);
    EXPECT_GE(alone.first.size(), 15U);
    for (const int threads : {2, 3, 8}) EXPECT_EQ(run(threads), alone) << threads;
}

/// Takes windows in batches, as a GPU does.
class BatchingToneClassifier : public ToneClassifier {
  public:
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        most_ = std::max(most_, windows.size());
        ToneClassifier::score(windows, scores);
    }
    bool gains_from_batches() const override { return true; }
    std::size_t most() const { return most_; }

  private:
    std::size_t most_ = 0;
};

TEST(Pipeline, GivesTheSameEventsInBatchesOverChannelsAndSources) {
    const int rate = 16'000;
    std::map<std::string, std::vector<SourceItem>> sound;
    for (const unsigned seed : {1U, 2U, 3U}) {
        sound["mic" + std::to_string(seed)] =
            cut_into_blocks({noise_with_tones(rate, 9.3, {{1.0, 2.0}, {6.0, 7.0}}, seed),
                             noise_with_tones(rate, 9.3, {{3.1, 4.1}}, seed + 100)},
                            rate, [] { return std::size_t{4800}; });
    }
    const Bundle bundle = tone_bundle();
    const auto run = [&](ToneClassifier& classifier) {
        auto config = config_for(true);
        config.max_batch = 8;
        config.max_batch_delay = 50ms;
        config.sources.clear();
        for (const auto& [name, items] : sound) {
            config.sources.emplace_back();
            config.sources.back().name = name;
            config.sources.back().is_file = true;
        }
        RecordingSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, [&](const SourceConfig& source) {
            return std::make_unique<ScriptedSource>(sound.at(source.name), false);
        });
        pipeline.start();
        EXPECT_TRUE(pipeline.wait_finished(60s));
        pipeline.rethrow_failure();
        for (const auto& source : pipeline.sources()) {
            for (const auto& channel : source.channels) {
                EXPECT_TRUE(channel.samples.balanced());
                EXPECT_EQ(channel.samples.analysed, 93 * rate / 10);
            }
        }
        auto lines = all_messages(sink.events());
        std::sort(lines.begin(), lines.end());  // sources go their own ways
        return lines;
    };
    ToneClassifier one_by_one;
    BatchingToneClassifier in_batches;
    EXPECT_EQ(run(in_batches), run(one_by_one));
    EXPECT_GT(in_batches.most(), 4U);
    EXPECT_LE(in_batches.most(), 8U);
}

TEST(Pipeline, BooksEverySampleWhenItStopsWhileSeveralThreadsScore) {
    auto config = config_for(false);
    config.threads = 4;
    const int rate = 16'000;
    const auto items = cut_into_blocks({noise_with_tones(rate, 30.0, {})}, rate, [] { return std::size_t{4000}; });
    const Bundle bundle = tone_bundle();
    for (const auto drain : {0ms, 5ms, 10'000ms}) {
        UnevenToneClassifier classifier;
        RecordingSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, once(items));
        pipeline.start();
        ASSERT_TRUE(goes_down(pipeline));
        EXPECT_TRUE(pipeline.sources()[0].channels[0].samples.balanced());
        pipeline.stop(drain);
        const auto samples = pipeline.sources()[0].channels[0].samples;
        EXPECT_TRUE(samples.balanced());
        EXPECT_EQ(samples.in, 30 * rate);
        EXPECT_EQ(samples.pending, 0);
    }
}

TEST(Pipeline, TellsWhatCameBeforeAFailureAndNothingAfterIt) {
    class BreaksAtATone : public UnevenToneClassifier {
      public:
        void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
            UnevenToneClassifier::score(windows, scores);
            if (scores[0] > 0.35F) throw std::runtime_error("broken");
        }
        std::unique_ptr<Classifier> for_another_thread() const override { return std::make_unique<BreaksAtATone>(); }
    };
    const int rate = 16'000;
    const auto items =
        cut_into_blocks({noise_with_tones(rate, 20.0, {{5.0, 6.0}})}, rate, [] { return std::size_t{4000}; });
    const Bundle bundle = tone_bundle();
    std::vector<std::int64_t> analysed;
    for (const int threads : {1, 2, 4}) {
        auto config = config_for(true);
        config.threads = threads;
        BreaksAtATone classifier;
        ScoresSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics,
                          [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
        pipeline.start();
        ASSERT_TRUE(pipeline.wait_finished(60s));
        EXPECT_THROW(pipeline.rethrow_failure(), std::runtime_error);
        pipeline.stop(0ms);
        const auto samples = pipeline.sources()[0].channels[0].samples;
        EXPECT_TRUE(samples.balanced());
        EXPECT_EQ(samples.pending, 0);
        EXPECT_EQ(samples.analysed, rate + rate / 4 * (std::ssize(sink.scores_) - 1));
        analysed.push_back(samples.analysed);
    }
    EXPECT_GT(analysed[0], 4 * rate);
    EXPECT_EQ(analysed, std::vector(3, analysed[0])) << "for any number of threads";
}

TEST(Pipeline, ScoresNothingAfterAFailure) {
    class Breaks : public ToneClassifier {
      public:
        void score(std::span<const std::span<const float>>, std::span<float>) override {
            ++calls;
            throw std::runtime_error("broken");
        }
        int calls = 0;
    };
    const int rate = 16'000;
    const auto items = cut_into_blocks({noise_with_tones(rate, 60.0, {})}, rate, [] { return std::size_t{4000}; });
    auto config = config_for(false);
    config.queue_windows = 4096;
    config.threads = 1;
    const Bundle bundle = tone_bundle();
    Breaks classifier;
    RecordingSink sink;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, once(items));
    pipeline.start();
    ASSERT_TRUE(pipeline.wait_finished(60s));
    EXPECT_EQ(classifier.calls, 1);
    EXPECT_THROW(pipeline.rethrow_failure(), std::runtime_error);
    pipeline.stop(0ms);
    EXPECT_TRUE(pipeline.sources()[0].channels[0].samples.balanced());
}

TEST(Pipeline, WantsOneRestartWhenEverythingThatSoundedIsSilent) {
    auto config = config_for(false);
    config.silence_timeout = 100ms;
    const Bundle bundle = tone_bundle();
    const auto items = cut_into_blocks({noise_with_tones(16'000, 2.0, {})}, 16'000, [] { return std::size_t{4000}; });
    const auto stall_after = [&](const SourceRunner::Opener& open, std::chrono::minutes silence) {
        ToneClassifier classifier;
        RecordingSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, open);
        pipeline.start();
        EXPECT_TRUE(goes_down(pipeline));
        if (const auto heard = pipeline.sources()[0].last_sample) pipeline.supervise(*heard);
        const auto now = std::chrono::steady_clock::now() + 1s;
        pipeline.supervise(now);
        pipeline.supervise(now + silence);
        return pipeline.stall(now + silence, 24h);
    };
    EXPECT_EQ(stall_after(once(items), Pipeline::kDeaf), "");
    EXPECT_EQ(stall_after(once(items), Pipeline::kDeaf + 1min), "no source has given sound for 10 min");
    const auto never = [](const SourceConfig&) -> std::unique_ptr<AudioSource> {
        throw std::runtime_error("script: no such device");
    };
    EXPECT_EQ(stall_after(never, Pipeline::kDeaf + 1min), "") << "the restart would not end";
}

TEST(Pipeline, ShiftsScoresByHourAndMonthBeforeTheDetectorAlone) {
    auto bundle = tone_bundle();
    bundle.thresholds = {0.9F};  // a second of tone scores 0.66, which 2 in log-odds make 0.93
    bundle.activity = ActivityTable{.shifts = std::vector<float>(ActivityTable::kCells)};
    bundle.activity->shifts[9 * 24 + 20] = 3.0F;  // October, 20 h
    const auto items =
        cut_into_blocks({noise_with_tones(16'000, 4.0, {{1.0, 3.0}})}, 16'000, [] { return std::size_t{4000}; });
    const auto run = [&](double bound, std::optional<UtcTime> start, std::vector<float>* published = nullptr) {
        auto config = config_for(true);
        config.detection.activity_prior = bound;
        config.sources[0].start = start;
        ToneClassifier classifier;
        ScoresSink sink;
        Metrics metrics(config.station);
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics,
                          [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
        pipeline.start();
        EXPECT_TRUE(pipeline.wait_finished(60s));
        pipeline.rethrow_failure();
        if (published != nullptr) *published = sink.scores_;
        return sink.events();
    };
    const UtcTime evening = std::chrono::sys_days(std::chrono::year(2026) / 10 / 26) + 20h + 30min;
    std::vector<float> shifted, plain;
    EXPECT_TRUE(run(0.0, evening, &plain).empty());
    const auto events = run(2.0, evening, &shifted);
    ASSERT_EQ(events.size(), 2U);
    for (const auto& event : events) EXPECT_EQ(event.prior, 2.0);
    EXPECT_GT(events[0].peak_score, 0.9F);
    EXPECT_EQ(shifted, plain) << "scores are published as the model gave them";
    EXPECT_TRUE(run(1.0, evening).empty()) << "the bound holds";
    EXPECT_TRUE(run(2.0, evening + 24h * 30).empty()) << "another month";
    EXPECT_TRUE(run(2.0, std::nullopt).empty()) << "nobody knows when it was";
}

TEST(Pipeline, LetsNoEventSpanAGap) {
    const int rate = 16'000;
    // One tone right through, cut by half a second that was lost.
    auto items = cut_into_blocks({noise_with_tones(rate, 3.0, {{0.0, 3.0}})}, rate, [] { return std::size_t{1600}; });
    items.emplace_back(Gap{.samples = rate / 2, .sample_rate_hz = rate, .known = true, .reason = "lost"});
    const auto rest = cut_into_blocks(
        {noise_with_tones(rate, 3.0, {{0.0, 3.0}})}, rate, [] { return std::size_t{1600}; }, 3 * rate + rate / 2);
    items.insert(items.end(), rest.begin(), rest.end());
    const auto outcome = analyse(config_for(true), items);
    std::vector<std::pair<std::int64_t, std::int64_t>> closed;
    for (const auto& event : outcome.events) {
        if (event.phase == EventPhase::kClose) closed.emplace_back(event.start_sample, event.end_sample);
    }
    EXPECT_THAT(closed,
                testing::ElementsAre(std::pair(0L, 3L * rate), std::pair(3L * rate + rate / 2, 6L * rate + rate / 2)));
    EXPECT_EQ(outcome.source.gaps, 1);
    EXPECT_DOUBLE_EQ(outcome.source.gap_seconds, 0.5);
    EXPECT_TRUE(outcome.source.channels[0].samples.balanced());
    EXPECT_EQ(outcome.source.channels[0].samples.analysed, 6 * rate);
}

TEST(Pipeline, BooksSoundThatIsShorterThanAWindow) {
    const auto outcome = analyse(config_for(true), cut_into_blocks({noise_with_tones(16'000, 0.5, {})}, 16'000,
                                                                   [] { return std::size_t{100}; }));
    const auto& samples = outcome.source.channels[0].samples;
    EXPECT_EQ(samples.in, 8000);
    EXPECT_EQ(samples.dropped[static_cast<std::size_t>(DropReason::kShort)], 8000);
    EXPECT_EQ(samples.analysed, 0);
    EXPECT_TRUE(samples.balanced());
    EXPECT_TRUE(outcome.events.empty());
}

TEST(Pipeline, DropsTheOldestLiveSoundWhenAnalysisFallsBehindAndCountsIt) {
    auto config = config_for(false);
    config.queue_windows = 4;
    const int rate = 16'000;
    // Blocks of a quarter second give one window each; the last ones are in the queue when the classifier wakes up.
    const auto items = cut_into_blocks({noise_with_tones(rate, 20.0, {})}, rate, [] { return std::size_t{4000}; });
    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    classifier.hold(true);
    RecordingSink sink;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, once(items));
    pipeline.start();
    ASSERT_TRUE(goes_down(pipeline)) << "a live source that ends is down and tried again";
    const auto held = pipeline.sources()[0].channels[0].samples;
    EXPECT_TRUE(held.balanced());
    EXPECT_EQ(held.in, 20 * rate);
    EXPECT_GT(held.dropped[static_cast<std::size_t>(DropReason::kOverload)], 10 * rate);
    EXPECT_THAT(metrics.text(), HasSubstr("reason=\"overload\""));
    classifier.hold(false);
    pipeline.stop(10s);
    const auto ended = pipeline.sources()[0].channels[0].samples;
    EXPECT_TRUE(ended.balanced());
    EXPECT_EQ(ended.pending, 0);
    EXPECT_GT(ended.analysed, 0);
}

TEST(Pipeline, HasRoomForEachChannelOfASource) {
    constexpr int kRate = 16'000;
    constexpr int kChannels = 40;
    auto config = config_for(false, 1.0);
    config.widen_hop = true;
    // 2 windows of each channel, and with the stretch's end another and a mark: no backlog that a machine should mind.
    const std::vector<std::vector<float>> sound(kChannels, noise_with_tones(kRate, 2.5, {}));
    const auto items = cut_into_blocks(sound, kRate, [] { return std::size_t{kRate / 10}; });
    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    classifier.hold(true);
    RecordingSink sink;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, once(items));
    pipeline.start();
    ASSERT_TRUE(goes_down(pipeline));
    pipeline.supervise(std::chrono::steady_clock::now());
    classifier.hold(false);
    pipeline.stop(30s);
    const auto report = pipeline.sources()[0];
    EXPECT_EQ(report.hop_seconds, 1.0);
    ASSERT_EQ(report.channels.size(), static_cast<std::size_t>(kChannels));
    for (const auto& channel : report.channels) {
        EXPECT_EQ(channel.samples.analysed, 5 * kRate / 2);
        EXPECT_EQ(channel.samples.dropped[static_cast<std::size_t>(DropReason::kOverload)], 0);
    }
}

TEST(Pipeline, AFileWaitsForTheClassifierAndLosesNothing) {
    auto config = config_for(true);
    config.queue_windows = 2;
    const auto items =
        cut_into_blocks({noise_with_tones(16'000, 10.0, {{2.0, 3.0}})}, 16'000, [] { return std::size_t{8000}; });
    const Bundle bundle = tone_bundle();
    ToneClassifier slow(5ms);
    RecordingSink sink;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_of(bundle, slow), sink, metrics,
                      [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
    pipeline.start();
    ASSERT_TRUE(pipeline.wait_finished(60s));
    EXPECT_EQ(pipeline.sources()[0].channels[0].samples.analysed, 160'000);
    EXPECT_EQ(sink.events().size(), 2U);
}

TEST(Pipeline, ABrokenClassifierEndsTheAnalysisWithAReason) {
    class Broken : public ToneClassifier {
        void score(std::span<const std::span<const float>>, std::span<float> scores) override {
            std::fill(scores.begin(), scores.end(), NAN);
        }
    } broken;
    const auto config = config_for(true);
    const Bundle bundle = tone_bundle();
    RecordingSink sink;
    Metrics metrics(config.station);
    const auto items = cut_into_blocks({noise_with_tones(16'000, 5.0, {})}, 16'000, [] { return std::size_t{8000}; });
    Pipeline pipeline(config, model_of(bundle, broken), sink, metrics,
                      [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
    pipeline.start();
    ASSERT_TRUE(pipeline.wait_finished(60s));
    EXPECT_THROW(pipeline.rethrow_failure(), std::runtime_error);
    EXPECT_EQ(pipeline.ill_health(), "analysis: failed");
}

TEST(Pipeline, AFileThatFailsIsReportedAndTheOtherSourceGoesOn) {
    auto config = config_for(true);
    config.sources.push_back(config.sources[0]);
    config.sources[1].name = "broken";
    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics(config.station);
    const auto items =
        cut_into_blocks({noise_with_tones(16'000, 3.0, {{1.0, 2.0}})}, 16'000, [] { return std::size_t{8000}; });
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics,
                      [&](const SourceConfig& source) -> std::unique_ptr<AudioSource> {
                          if (source.name == "broken") throw std::runtime_error("broken: no such file");
                          return std::make_unique<ScriptedSource>(items, false);
                      });
    pipeline.start();
    ASSERT_TRUE(pipeline.wait_finished(60s));
    EXPECT_EQ(sink.events().size(), 2U);
    EXPECT_EQ(pipeline.sources()[1].state, SourceState::kFailed);
    EXPECT_EQ(pipeline.ill_health(), "source broken: no such file");
}

TEST(Pipeline, TakesSamplesThatAreNoNumbersForSilence) {
    auto sound = noise_with_tones(16'000, 3.0, {});
    sound[100] = NAN;
    sound[20'000] = INFINITY;
    const auto outcome = analyse(config_for(true), cut_into_blocks({sound}, 16'000, [] { return std::size_t{8000}; }));
    EXPECT_EQ(outcome.source.channels[0].samples.analysed, 48'000);
    EXPECT_TRUE(std::isfinite(outcome.source.channels[0].level.rms_dbfs));
}

TEST(Pipeline, IsSettledOnceASourceIsHeardOrNoneWillBeSoon) {
    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics("test");
    const auto items = cut_into_blocks({noise_with_tones(16'000, 0.5, {})}, 16'000, [] { return std::size_t{8000}; });
    const auto gate = std::make_shared<Gate>();
    auto config = config_for(false);
    config.silence_timeout = 1h;
    const auto settles = [&](SourceRunner::Opener open, bool at_once) {
        Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, std::move(open));
        pipeline.start();
        const auto settled = [&] { return pipeline.settled(std::chrono::steady_clock::now()); };
        if (!at_once) {
            EXPECT_FALSE(settled());
            return pipeline.settled(std::chrono::steady_clock::now() + 30s);
        }
        for (int i = 0; i < 6000 && !settled(); ++i) std::this_thread::sleep_for(2ms);
        return settled();
    };
    EXPECT_TRUE(settles([&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, true); }, true));
    EXPECT_TRUE(settles(
        [](const SourceConfig&) -> std::unique_ptr<AudioSource> { throw std::runtime_error("script: gone"); }, true))
        << "it is down";
    EXPECT_TRUE(settles(
        [gate](const SourceConfig&) -> std::unique_ptr<AudioSource> {
            gate->pass();
            throw std::runtime_error("script: gone");
        },
        false))
        << "nobody waits for ever";
    gate->open();
}

TEST(Pipeline, OpensALiveSourceAgainThatIsSilent) {
    class Silent : public AudioSource {
        SourceItem read(std::chrono::milliseconds) override {
            std::this_thread::sleep_for(1ms);
            return NothingYet{};
        }
        bool is_live() const override { return true; }
        void request_stop() noexcept override {}
    };
    auto config = config_for(false);
    config.silence_timeout = 20ms;
    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics(config.station);
    std::atomic<int> opened{0};
    Pipeline pipeline(config, model_of(bundle, classifier), sink, metrics, [&](const SourceConfig&) {
        ++opened;
        return std::make_unique<Silent>();
    });
    pipeline.start();
    for (int i = 0; i < 6000 && opened < 2; ++i) std::this_thread::sleep_for(5ms);
    EXPECT_GE(opened, 2);
    EXPECT_THAT(pipeline.ill_health(), HasSubstr("no sound for"));
}

TEST(Pipeline, NamesASourceWhoseRateItCannotUse) {
    const auto outcome = analyse(
        config_for(true), cut_into_blocks({noise_with_tones(4'000, 2.0, {})}, 4'000, [] { return std::size_t{4000}; }));
    EXPECT_EQ(outcome.source.state, SourceState::kFailed);
    EXPECT_THAT(outcome.source.error, testing::StartsWith("script: sample rate 4000 Hz"));
}

TEST(Thresholds, ComeFromTheBundleUnlessTheConfigurationSaysOtherwise) {
    Bundle bundle = tone_bundle();
    bundle.labels.push_back({.code = "OTHER", .name = "", .group = ""});
    bundle.thresholds = {0.4F, 0.8F};
    DetectionConfig detection;
    detection.threshold_scale = 2.0;
    detection.thresholds = {{"TONE", 0.1}};
    EXPECT_THAT(thresholds_for(bundle, detection), testing::ElementsAre(0.1F, 1.0F));
}

}  // namespace
}  // namespace chorus
