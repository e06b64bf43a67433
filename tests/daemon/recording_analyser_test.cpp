#include "daemon/recording_analyser.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "daemon/detect_progress.h"
#include "tests/daemon/fakes.h"
#include "tests/streaming/wav.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class RecordingAnalyserTest : public testing::Test {
  protected:
    fs::path write(const std::string& name, const std::vector<std::vector<float>>& channels) {
        testing_tools::Wav wav;
        wav.channels = static_cast<int>(channels.size());
        wav.sample_rate_hz = 16'000;
        for (std::size_t i = 0; i < channels[0].size(); ++i) {
            for (const auto& channel : channels) {
                const auto value = static_cast<std::int16_t>(std::lround(channel[i] * 32767));
                wav.data.push_back(static_cast<std::uint8_t>(value & 0xff));
                wav.data.push_back(static_cast<std::uint8_t>((value >> 8) & 0xff));
            }
        }
        testing_tools::write_wav(folder_.path() / name, wav);
        return folder_.path() / name;
    }

    /// What comes of each: its events, notes and failure, a line each.
    std::vector<std::string> analyse(const std::vector<fs::path>& recordings, int threads) {
        DetectOptions options;
        options.threads = threads;
        options.hop_seconds = 0.25;
        options.merge_gap_seconds = 0;
        options.group_seconds = 0.5;
        UnevenToneClassifier classifier;
        RecordingAnalyser analyser(options, model_of(bundle_, classifier, static_cast<std::size_t>(threads)));
        std::vector<std::string> lines;
        std::mutex mutex;
        heard_seconds_ = 0;
        analyser.analyse(
            recordings,
            [&](const RecordingOutcome& outcome) {
                for (const auto& event : outcome.events) lines.push_back(to_json(event));
                for (const auto& note : outcome.notes) lines.push_back("note " + note);
                lines.push_back("end " + outcome.failure);
                return true;
            },
            [&](double seconds) {
                const std::lock_guard lock(mutex);
                heard_seconds_ += seconds;
            });
        return lines;
    }

    /// How many outcomes come when it is told to stop at the third.
    int handed_over(const std::vector<fs::path>& recordings, int threads) {
        DetectOptions options;
        options.threads = threads;
        UnevenToneClassifier classifier;
        RecordingAnalyser analyser(options, model_of(bundle_, classifier, static_cast<std::size_t>(threads)));
        int taken = 0;
        analyser.analyse(
            recordings, [&](const RecordingOutcome&) { return ++taken < 3; }, [](double) {});
        return taken;
    }

    TemporaryFolder folder_;
    const Bundle bundle_ = tone_bundle();
    double heard_seconds_ = 0;
};

TEST_F(RecordingAnalyserTest, GivesTheSameForAnyNumberOfThreads) {
    const int rate = 16'000;
    std::vector<fs::path> recordings;
    for (unsigned i = 0; i < 6; ++i) {
        // The first is much the longest, so that the others are done before it.
        const double seconds = i == 0 ? 40.0 : 2.3;
        recordings.push_back(write("recording_" + std::to_string(i) + ".wav",
                                   {noise_with_tones(rate, seconds, {{0.5, 1.5}, {20.0, 21.0}}, i),
                                    noise_with_tones(rate, seconds, {{0.8, 1.8}}, i + 100)}));
    }
    std::ofstream(folder_.path() / "text.wav") << "no sound at all";
    recordings.insert(recordings.begin() + 3, folder_.path() / "text.wav");
    recordings.push_back(write("short.wav", {noise_with_tones(rate, 0.5, {})}));

    const auto alone = analyse(recordings, 1);
    EXPECT_NEAR(heard_seconds_, 2 * (40.0 + 5 * 2.3), 1e-6) << "both channels of six recordings";
    EXPECT_EQ(std::ranges::count(alone, "end "), 6);
    EXPECT_THAT(alone.back(), HasSubstr("short.wav: 0.50 s of sound is less than"));
    EXPECT_EQ(std::ranges::count_if(alone, [](const auto& line) { return line.find("TONE") != line.npos; }), 13);
    for (const int threads : {2, 4, 9}) EXPECT_EQ(analyse(recordings, threads), alone) << threads;
}

TEST_F(RecordingAnalyserTest, HandsOverNothingMoreOnceToldToStop) {
    EXPECT_EQ(handed_over(std::vector(30, write("again.wav", {noise_with_tones(16'000, 1.5, {})})), 2), 3);
}

TEST_F(RecordingAnalyserTest, EndsOnceToldToStopHoweverManyAreLeft) {
    EXPECT_EQ(handed_over(std::vector(300, folder_.path() / "none.wav"), 4), 3);
}

TEST(Model, LendsNoMoreClassifiersAtATimeThanItHas) {
    struct Counts {
        std::atomic<int> scoring{0};
        std::atomic<int> most{0};
    } counts;
    class Counting : public ToneClassifier {
      public:
        explicit Counting(Counts& counted) : counts_(counted) {}
        void score(std::span<const std::span<const float>>, std::span<float>) override {
            const int now = ++counts_.scoring;
            for (int seen = counts_.most; seen < now && !counts_.most.compare_exchange_weak(seen, now);) {
            }
            std::this_thread::sleep_for(100us);
            --counts_.scoring;
        }
        std::unique_ptr<Classifier> for_another_thread() const override { return std::make_unique<Counting>(counts_); }

      private:
        Counts& counts_;
    } first(counts);
    const auto model = model_of(tone_bundle(), first, 2);
    EXPECT_EQ(model->classifiers(), 2U);
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 5; ++i) {
            threads.emplace_back([&] {
                for (int window = 0; window < 20; ++window) model->score({}, {});
            });
        }
    }
    EXPECT_EQ(counts.most, 2);
}

struct FakeClock {
    DetectProgress::Clock::time_point now{};
    auto reader() {
        return [this] { return now; };
    }
};

TEST(DetectProgress, SaysNowAndThenHowFastItIs) {
    FakeClock clock;
    std::ostringstream out;
    DetectProgress progress(out, DetectProgress::Style::kPlain, clock.reader());
    progress.begin(3);
    clock.now += 9s;
    progress.heard(900);
    EXPECT_THAT(out.str(), IsEmpty());
    clock.now += 1s;
    progress.recording_done();
    EXPECT_EQ(out.str(), "1 of 3 recordings, 0.250 channel-hours in 10.0 s: 90 times real time\n");
    progress.heard(900);
    progress.finish();
    EXPECT_THAT(out.str(),
                testing::EndsWith("\n1 of 3 recordings, 0.500 channel-hours in 10.0 s: 180 times real time\n"));
}

TEST(DetectProgress, RedrawsOneLineOfATerminalAndSaysNothingWhereItIsOff) {
    for (const auto style : {DetectProgress::Style::kTerminal, DetectProgress::Style::kNone}) {
        FakeClock clock;
        std::ostringstream out;
        DetectProgress progress(out, style, clock.reader());
        progress.begin(1);
        clock.now += 2s;
        progress.heard(100);
        progress.say([&] { out << "a word\n"; });
        progress.finish();
        if (style == DetectProgress::Style::kNone) {
            EXPECT_EQ(out.str(), "a word\n");
        } else {
            EXPECT_EQ(out.str(),
                      "\r\x1b[K0 of 1 recordings, 0.028 channel-hours in 2.0 s: 50 times real time\r\x1b[Ka word\n"
                      "\r\x1b[K0 of 1 recordings, 0.028 channel-hours in 2.0 s: 50 times real time\n");
        }
    }
}

}  // namespace
}  // namespace chorus
