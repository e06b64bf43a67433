// Another model while sound flows: every window is scored once, by the model it was cut for, and none is left out.

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>
#include <random>
#include <set>

#include "daemon/clip_keeper.h"
#include "daemon/pipeline.h"
#include "tests/daemon/fakes.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kRate = EndlessSource::kRate;

/// Says the same of any window.
class ConstantClassifier : public Classifier {
  public:
    explicit ConstantClassifier(std::vector<float> scores) : scores_(std::move(scores)) {}
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        for (std::size_t i = 0; i < windows.size(); ++i)
            std::copy(scores_.begin(), scores_.end(), scores.begin() + static_cast<std::ptrdiff_t>(i * scores_.size()));
    }
    std::size_t classes() const override { return scores_.size(); }
    std::string description() const override { return "constant"; }
    std::unique_ptr<Classifier> for_another_thread() const override {
        return std::make_unique<ConstantClassifier>(scores_);
    }

  private:
    const std::vector<float> scores_;
};

std::string id_of(int number) {
    return fmt::format("{:016x}", number);
}

/// The tone's model under another id, and with another front-end where one is given.
std::shared_ptr<const Model> tone_model(int number, FrontEndParameters front_end = coarse_front_end()) {
    auto bundle = tone_bundle();
    bundle.id = id_of(number);
    bundle.front_end = front_end;
    // Uneven in time, so that windows overtake one another.
    class Uneven : public ToneClassifier {
      public:
        explicit Uneven(FrontEndParameters parameters) : ToneClassifier({}, parameters), parameters_(parameters) {}
        void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
            std::this_thread::sleep_for(std::chrono::microseconds(random_() % 2000));
            ToneClassifier::score(windows, scores);
        }
        std::unique_ptr<Classifier> for_another_thread() const override {
            return std::make_unique<Uneven>(parameters_);
        }

      private:
        const FrontEndParameters parameters_;
        std::mt19937 random_{std::random_device()()};
    };
    return std::make_shared<const Model>(std::move(bundle), std::make_unique<Uneven>(front_end), 4);
}

FrontEndParameters front_end(double window_seconds, int sample_rate_hz = kRate, int mels = 32) {
    auto parameters = coarse_front_end();
    parameters.window_seconds = window_seconds;
    parameters.sample_rate_hz = sample_rate_hz;
    parameters.f_max_hz = sample_rate_hz / 2.0;
    parameters.mels = mels;
    return parameters;
}

/// One window as it was told of.
struct Told {
    std::int64_t start = 0;
    std::int64_t end = 0;
    std::string model;
};
using Channel = std::pair<std::size_t, int>;

/// Keeps windows by channel and all events, in the order in which they are told.
class Witness : public RecordingSink {
  public:
    void on_scores(const std::string&, const Window& window, std::span<const float> scores) override {
        EXPECT_EQ(scores.size(), window.model->classes());
        const std::lock_guard lock(mutex_);
        told_[{window.source, window.channel}].push_back({window.start_sample, window.end_sample, window.model->id()});
    }
    std::map<Channel, std::vector<Told>> told() const {
        const std::lock_guard lock(mutex_);
        return told_;
    }
    std::size_t told_by(const std::string& model) const {
        std::size_t count = 0;
        for (const auto& [channel, windows] : told())
            count += static_cast<std::size_t>(std::ranges::count(windows, model, &Told::model));
        return count;
    }

  private:
    mutable std::mutex mutex_;
    std::map<Channel, std::vector<Told>> told_;
};

/// No hole, nothing twice, each model's windows together, and the models in this order.
void expect_whole(const std::vector<Told>& windows, const std::vector<std::string>& models) {
    std::int64_t covered = windows.empty() ? 0 : windows.front().start;
    std::vector<std::string> order;
    std::set<std::tuple<std::string, std::int64_t>> seen;
    for (const auto& window : windows) {
        EXPECT_LE(window.start, covered) << "a hole before it";
        covered = std::max(covered, window.end);
        EXPECT_TRUE(seen.emplace(window.model, window.start).second) << "scored twice";
        if (order.empty() || order.back() != window.model) order.push_back(window.model);
    }
    EXPECT_EQ(order, models);
}

/// An event is closed before another model's opens on its channel, and none stays open.
void expect_closed_under_their_own_model(const std::vector<Event>& events) {
    std::map<std::tuple<std::string, int, std::string>, std::string> open;  // by channel and code: the model
    for (const auto& event : events) {
        const std::tuple key{event.source, event.channel, event.code};
        if (event.phase == EventPhase::kOpen) {
            EXPECT_TRUE(open.emplace(key, event.model).second) << open[key];
        } else {
            EXPECT_EQ(open[key], event.model);
            if (event.phase == EventPhase::kClose) open.erase(key);
        }
    }
    EXPECT_THAT(open, IsEmpty());
}

class Swap : public testing::Test {
  protected:
    static Config config(int sources = 1, int threads = 3) {
        Config made;
        made.station = "test";
        made.hop_seconds = 0.25;
        made.threads = threads;
        made.queue_windows = 4096;  // nothing is dropped
        made.detection.merge_gap_seconds = 0;
        for (int i = 0; i < sources; ++i) {
            SourceConfig source;
            source.name = fmt::format("mic{}", i);
            source.launch = "x";
            made.sources.push_back(source);
        }
        return made;
    }
    static SourceRunner::Opener endless(int channels) {
        return [channels](const SourceConfig&) { return std::make_unique<EndlessSource>(channels); };
    }
    /// Waits until the model has told of so many windows; the books balance meanwhile.
    bool told_by(const Pipeline& pipeline, const std::string& model, std::size_t count) const {
        return eventually([&] {
            for (const auto& source : pipeline.sources()) {
                for (const auto& channel : source.channels) EXPECT_TRUE(channel.samples.balanced());
            }
            return witness_.told_by(model) >= count;
        });
    }
    static void expect_all_analysed(const Pipeline& pipeline) {
        for (const auto& source : pipeline.sources()) {
            for (const auto& channel : source.channels) {
                EXPECT_TRUE(channel.samples.balanced());
                EXPECT_EQ(channel.samples.dropped[static_cast<std::size_t>(DropReason::kOverload)], 0);
                EXPECT_EQ(channel.samples.dropped[static_cast<std::size_t>(DropReason::kShort)], 0);
                EXPECT_EQ(channel.samples.dropped[static_cast<std::size_t>(DropReason::kError)], 0);
            }
        }
    }

    Witness witness_;
    Metrics metrics_{"test"};
};

TEST_F(Swap, GoesOnWithTheHopsOverAllThreadsSourcesAndChannels) {
    Pipeline pipeline(config(3), tone_model(0), witness_, metrics_, endless(2));
    pipeline.start();
    std::vector<std::string> models = {id_of(0)};
    std::vector<std::weak_ptr<const Model>> old;
    for (int number = 1; number <= 4; ++number) {
        ASSERT_TRUE(told_by(pipeline, models.back(), 30));
        old.push_back(pipeline.model());
        pipeline.swap(tone_model(number));
        models.push_back(id_of(number));
        EXPECT_EQ(pipeline.model()->id(), id_of(number));
        EXPECT_THAT(metrics_.text(), HasSubstr("model=\"" + id_of(number) + "\""));
        EXPECT_THAT(metrics_.text(), testing::Not(HasSubstr("model=\"" + id_of(number - 1) + "\"")));
    }
    ASSERT_TRUE(told_by(pipeline, models.back(), 60));
    EXPECT_TRUE(eventually([&] { return std::ranges::all_of(old, [](const auto& model) { return model.expired(); }); }))
        << "a model goes with its last window";
    pipeline.stop(10s);
    pipeline.rethrow_failure();
    expect_all_analysed(pipeline);
    const auto told = witness_.told();
    EXPECT_EQ(told.size(), 6U);
    for (const auto& [channel, windows] : told) {
        expect_whole(windows, models);
        for (std::size_t i = 1; i < windows.size(); ++i)
            EXPECT_EQ(windows[i].start - windows[i - 1].start, kRate / 4) << "on one grid";
    }
    expect_closed_under_their_own_model(witness_.events());
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_swaps_total{station=\"test\"} 4"));
}

TEST_F(Swap, LeavesNothingOutWhereTheFrontEndsDiffer) {
    const std::vector<FrontEndParameters> front_ends = {front_end(2.0), front_end(0.5), front_end(1.0, 8'000),
                                                        front_end(1.0, kRate, 64), front_end(1.0)};
    Pipeline pipeline(config(2), tone_model(0), witness_, metrics_, endless(2));
    pipeline.start();
    std::vector<std::string> models = {id_of(0)};
    for (const auto& parameters : front_ends) {
        ASSERT_TRUE(told_by(pipeline, models.back(), 30));
        models.push_back(id_of(static_cast<int>(models.size())));
        pipeline.swap(tone_model(static_cast<int>(models.size()) - 1, parameters));
    }
    ASSERT_TRUE(told_by(pipeline, models.back(), 60));
    pipeline.stop(10s);
    pipeline.rethrow_failure();
    expect_all_analysed(pipeline);
    for (const auto& [channel, windows] : witness_.told()) expect_whole(windows, models);
    expect_closed_under_their_own_model(witness_.events());
}

TEST_F(Swap, TwiceAtOnceGoesOverToTheLast) {
    Pipeline pipeline(config(2), tone_model(0), witness_, metrics_, endless(1));
    pipeline.start();
    ASSERT_TRUE(told_by(pipeline, id_of(0), 20));
    const std::weak_ptr<const Model> between = [&] {
        auto model = tone_model(1, front_end(3.0));
        pipeline.swap(model);
        return model;
    }();
    pipeline.swap(tone_model(2, front_end(2.0)));
    ASSERT_TRUE(told_by(pipeline, id_of(2), 20));
    EXPECT_TRUE(eventually([&] { return between.expired(); }));
    pipeline.swap(tone_model(3));
    pipeline.swap(tone_model(4, front_end(2.0)));
    ASSERT_TRUE(told_by(pipeline, id_of(4), 20));
    pipeline.stop(10s);
    pipeline.rethrow_failure();
    expect_all_analysed(pipeline);
    for (auto [channel, windows] : witness_.told()) {
        // The one between may have had its turn at a source that looked just then.
        std::vector<std::string> models;
        for (const auto& window : windows) {
            if (models.empty() || models.back() != window.model) models.push_back(window.model);
        }
        EXPECT_TRUE(std::is_sorted(models.begin(), models.end()));
        EXPECT_EQ(models.front(), id_of(0));
        EXPECT_EQ(models.back(), id_of(4));
        expect_whole(windows, models);
    }
    EXPECT_EQ(witness_.told_by(id_of(1)), 0U) << "it would have had to hear 3 s first";
}

TEST_F(Swap, HasWhatWaitsScoredByTheOldModel) {
    ToneClassifier old;
    old.hold(true);
    auto bundle = tone_bundle();
    bundle.id = id_of(0);
    Pipeline pipeline(config(1, 1), model_of(bundle, old), witness_, metrics_, endless(1));
    pipeline.start();
    ASSERT_TRUE(eventually([&] {
        const auto source = pipeline.sources()[0];
        return !source.channels.empty() && source.channels[0].samples.pending > 10 * kRate;
    }));
    pipeline.swap(tone_model(1));
    ASSERT_TRUE(eventually([&] { return pipeline.sources()[0].channels[0].samples.pending > 20 * kRate; }));
    EXPECT_EQ(witness_.told_by(id_of(1)), 0U);
    old.hold(false);
    ASSERT_TRUE(told_by(pipeline, id_of(1), 40));
    pipeline.stop(10s);
    expect_all_analysed(pipeline);
    EXPECT_GE(witness_.told_by(id_of(0)), 30U);
    for (const auto& [channel, windows] : witness_.told()) expect_whole(windows, {id_of(0), id_of(1)});
}

TEST_F(Swap, ClosesOpenEventsUnderTheOldIdAndKnowsOtherClasses) {
    const auto model = [](int number, const std::vector<std::string>& codes, std::vector<float> scores) {
        Bundle bundle;
        bundle.id = id_of(number);
        bundle.front_end = coarse_front_end();
        for (const auto& code : codes) {
            bundle.labels.push_back({.code = code, .name = "", .group = ""});
            bundle.thresholds.push_back(0.5F);
        }
        return std::make_shared<const Model>(std::move(bundle), std::make_unique<ConstantClassifier>(std::move(scores)),
                                             3);
    };
    auto settings = config(2);
    settings.detection.thresholds["FROG"] = 0.8;  // the first knows no such class
    Pipeline pipeline(settings, model(0, {"NEWT", "TOAD"}, {0.9F, 0.9F}), witness_, metrics_, endless(2));
    pipeline.start();
    ASSERT_TRUE(told_by(pipeline, id_of(0), 20));
    pipeline.swap(model(1, {"CROW", "FROG", "NEWT"}, {0.6F, 0.7F, 0.9F}));
    ASSERT_TRUE(told_by(pipeline, id_of(1), 20));
    pipeline.stop(10s);
    pipeline.rethrow_failure();
    expect_all_analysed(pipeline);
    const auto events = witness_.events();
    expect_closed_under_their_own_model(events);
    std::set<std::pair<std::string, std::string>> told;
    for (const auto& event : events) told.emplace(event.model, event.code);
    EXPECT_THAT(told, ElementsAre(std::pair(id_of(0), "NEWT"), std::pair(id_of(0), "TOAD"), std::pair(id_of(1), "CROW"),
                                  std::pair(id_of(1), "NEWT")));
}

TEST_F(Swap, WaitsForNoSourceThatIsBeingOpenedAgain) {
    const auto gate = std::make_shared<Gate>();
    const auto openings = std::make_shared<std::atomic<int>>(0);
    const auto sound = cut_into_blocks({noise_with_tones(kRate, 4.0, {{1.0, 4.0}})}, kRate, [] { return 1'600U; });
    Pipeline pipeline(config(2), tone_model(0), witness_, metrics_,
                      [=](const SourceConfig& wanted) -> std::unique_ptr<AudioSource> {
                          if (wanted.name == "mic1") return std::make_unique<EndlessSource>();
                          if ((*openings)++ == 0) return std::make_unique<ScriptedSource>(sound, true);
                          gate->pass();
                          return std::make_unique<EndlessSource>();
                      });
    pipeline.start();
    ASSERT_TRUE(eventually([&] { return *openings == 2; }));
    const std::weak_ptr<const Model> old = pipeline.model();
    pipeline.swap(tone_model(1, front_end(0.5)));
    ASSERT_TRUE(told_by(pipeline, id_of(1), 20));
    EXPECT_TRUE(eventually([&] { return old.expired(); })) << "nothing holds it while the source is away";
    gate->open();
    ASSERT_TRUE(eventually([&] { return witness_.told()[{0, 0}].back().model == id_of(1); }));
    pipeline.stop(10s);
    expect_all_analysed(pipeline);
    expect_closed_under_their_own_model(witness_.events());
}

TEST_F(Swap, GoesThroughAReload) {
    Pipeline pipeline(config(2), tone_model(0), witness_, metrics_, endless(1));
    pipeline.start();
    ASSERT_TRUE(told_by(pipeline, id_of(0), 20));
    pipeline.swap(tone_model(1, front_end(0.5)));
    auto next = config(3);
    next.sources[1].launch = "y";
    next.detection.thresholds["TONE"] = 0.5;
    pipeline.reload(next);
    ASSERT_TRUE(told_by(pipeline, id_of(1), 60));
    pipeline.stop(10s);
    pipeline.rethrow_failure();
    expect_all_analysed(pipeline);
    const auto told = witness_.told();
    ASSERT_TRUE(told.contains({3, 0})) << "sources that begin anew are of the new model";
    expect_whole(told.at({2, 0}), {id_of(1)});
    expect_whole(told.at({3, 0}), {id_of(1)});
    expect_closed_under_their_own_model(witness_.events());
}

TEST_F(Swap, DropsAndCountsUnderOverloadAsEver) {
    auto settings = config(1, 1);
    settings.queue_windows = 8;
    ToneClassifier old;
    old.hold(true);
    Pipeline pipeline(settings, model_of(tone_bundle(), old), witness_, metrics_, endless(2));
    pipeline.start();
    const auto dropped = [&] {
        const auto source = pipeline.sources()[0];
        return source.channels.empty()
                   ? 0
                   : source.channels[0].samples.dropped[static_cast<std::size_t>(DropReason::kOverload)];
    };
    ASSERT_TRUE(eventually([&] { return dropped() > 0; }));
    pipeline.swap(tone_model(1, front_end(2.0)));
    const auto before = dropped();
    ASSERT_TRUE(eventually([&] { return dropped() > before + 10 * kRate; }));
    old.hold(false);
    ASSERT_TRUE(told_by(pipeline, id_of(1), 20));
    pipeline.stop(10s);
    const auto source = pipeline.sources()[0];
    for (const auto& channel : source.channels) {
        EXPECT_TRUE(channel.samples.balanced());
        EXPECT_EQ(channel.samples.pending, 0);
    }
    expect_closed_under_their_own_model(witness_.events());
}

TEST_F(Swap, KeepsClipsThatNameTheirOwnModel) {
    const TemporaryFolder folder;
    ClipsConfig clips;
    clips.folder = folder / "clips";
    clips.min_free_mib = 0;
    clips.uncertain_per_day = 0;
    clips.random_per_day = 0;
    {
        ClipKeeper keeper(clips, "test", tone_bundle(), witness_, metrics_);
        Pipeline pipeline(config(), tone_model(0), keeper, metrics_, endless(1));
        pipeline.start();
        ASSERT_TRUE(told_by(pipeline, id_of(0), 40));
        pipeline.swap(tone_model(1, front_end(1.0, kRate, 64)));
        ASSERT_TRUE(told_by(pipeline, id_of(1), 40));
        pipeline.stop(10s);
        pipeline.rethrow_failure();
    }
    std::set<std::string> models;
    for (const auto& event : witness_.events()) {
        if (event.phase != EventPhase::kClose) continue;
        ASSERT_TRUE(std::filesystem::exists(clips.folder / event.clip)) << event.clip;
        std::ifstream file(clips.folder / event.clip, std::ios::binary);
        const std::string flac{std::istreambuf_iterator<char>(file), {}};
        EXPECT_THAT(flac, HasSubstr("\"model\":\"" + event.model + "\""));
        models.insert(event.model);
    }
    EXPECT_THAT(models, ElementsAre(id_of(0), id_of(1)));
}

}  // namespace
}  // namespace chorus
