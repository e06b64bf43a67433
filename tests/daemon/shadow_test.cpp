// A candidate beside the live model.

#include "daemon/shadow.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "daemon/pipeline.h"
#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Event event(EventPhase phase, std::int64_t start, std::int64_t end, const std::string& code = "FROG") {
    Event made;
    made.phase = phase;
    made.code = code;
    made.start_sample = start;
    made.end_sample = end;
    return made;
}

TEST(EventComparison, PairsWhatOverlapsInTime) {
    using Side = EventComparison::Side;
    std::vector<std::pair<std::string, Found>> told;
    EventComparison comparison([&](const std::string& code, Found found) { told.emplace_back(code, found); });
    const auto whole = [&](Side side, std::int64_t start, std::int64_t end, const std::string& code = "FROG") {
        comparison.add(side, event(EventPhase::kOpen, start, start + 10, code));
        comparison.add(side, event(EventPhase::kUpdate, start, end, code));
        comparison.add(side, event(EventPhase::kClose, start, end, code));
    };
    whole(Side::kLive, 0, 100);
    EXPECT_THAT(told, ElementsAre(Pair("FROG", Found::kLive)));
    whole(Side::kCandidate, 200, 300);
    EXPECT_THAT(told.back(), Pair("FROG", Found::kCandidate));

    told.clear();
    // One long event of the live model, in which the candidate has two; a third comes after it.
    comparison.add(Side::kLive, event(EventPhase::kOpen, 400, 410));
    whole(Side::kCandidate, 420, 450);
    whole(Side::kCandidate, 500, 550);
    whole(Side::kCandidate, 400, 600, "TOAD");
    EXPECT_THAT(told, ElementsAre(Pair("TOAD", Found::kCandidate))) << "undecided while one is open";
    comparison.add(Side::kCandidate, event(EventPhase::kOpen, 700, 710));
    comparison.add(Side::kLive, event(EventPhase::kClose, 400, 650));
    comparison.add(Side::kCandidate, event(EventPhase::kClose, 700, 750));
    EXPECT_THAT(told, ElementsAre(Pair("TOAD", Found::kCandidate), Pair("FROG", Found::kBoth),
                                  Pair("FROG", Found::kCandidate)));
}

class ShadowSink : public RecordingSink {
  public:
    void on_shadow_event(Event event) override {
        const std::lock_guard lock(mutex_);
        shadow_.push_back(std::move(event));
    }
    std::vector<Event> shadow_events() const {
        const std::lock_guard lock(mutex_);
        return shadow_;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<Event> shadow_;
};

class ShadowTest : public testing::Test {
  protected:
    static Config config() {
        Config made;
        made.station = "test";
        made.hop_seconds = 0.25;
        made.detection.merge_gap_seconds = 0;
        SourceConfig source;
        source.name = "mic";
        source.is_file = true;
        made.sources = {source};
        return made;
    }
    static std::shared_ptr<const Model> model(Classifier& classifier, const std::string& id, float threshold) {
        auto bundle = tone_bundle();
        bundle.id = id;
        bundle.thresholds = {threshold};
        return model_of(bundle, classifier, 1);
    }
    double windows(const std::string& result) const {
        return value("chorus_shadow_windows_total{station=\"test\",result=\"" + result + "\"} ");
    }
    double events(const std::string& found) const {
        return value("chorus_shadow_events_total{station=\"test\",code=\"TONE\",found=\"" + found + "\"} ");
    }
    double value(const std::string& series) const {
        const auto text = metrics_.text();
        const auto at = text.find("\n" + series);
        return at == std::string::npos ? 0.0 : std::stod(text.substr(at + 1 + series.size()));
    }

    ToneClassifier live_;
    ToneClassifier candidate_;
    ShadowSink sink_;
    Metrics metrics_{"test"};
};

// Twelve seconds with a loud and a faint call, which only the candidate's threshold takes for one.
std::vector<SourceItem> two_calls() {
    auto sound = noise_with_tones(16'000, 12.0, {{2.0, 4.0}});
    for (std::size_t i = 7 * 16'000; i < 9 * 16'000; ++i)
        sound[i] +=
            0.012F * static_cast<float>(std::sin(2 * std::numbers::pi * 1000 * static_cast<double>(i) / 16'000));
    return cut_into_blocks({sound}, 16'000, [] { return std::size_t{4000}; });
}

TEST_F(ShadowTest, CountsWhatOnlyOneOfBothWouldHaveSentAndTellsOfItAside) {
    const auto gate = std::make_shared<Gate>();
    class Gated : public ScriptedSource {
      public:
        Gated(std::vector<SourceItem> items, std::shared_ptr<Gate> gate)
            : ScriptedSource(std::move(items), false), gate_(std::move(gate)) {}
        SourceItem read(std::chrono::milliseconds timeout) override {
            gate_->pass();
            return ScriptedSource::read(timeout);
        }

      private:
        std::shared_ptr<Gate> gate_;
    };
    Pipeline pipeline(config(), model(live_, "1111111111111111", 0.6F), sink_, metrics_,
                      [&](const SourceConfig&) { return std::make_unique<Gated>(two_calls(), gate); });
    pipeline.start();
    pipeline.shadow(model(candidate_, "2222222222222222", 0.35F));
    EXPECT_EQ(pipeline.candidate()->id(), "2222222222222222");
    gate->open();
    ASSERT_TRUE(pipeline.wait_finished(60s));
    constexpr double kWindows = (12 - 1) * 4 + 1;
    ASSERT_TRUE(eventually([&] { return windows("agreed") + windows("differed") == kWindows; }));
    pipeline.shadow(nullptr);
    ASSERT_TRUE(eventually([&] { return events("both") == 1 && events("candidate") == 1; }));
    EXPECT_EQ(events("live"), 0);
    EXPECT_GT(windows("differed"), 3);
    EXPECT_GT(windows("agreed"), 20);
    EXPECT_EQ(windows("skipped"), 0);
    EXPECT_EQ(value("chorus_shadow_compute_seconds_count{station=\"test\"} "), kWindows);
    EXPECT_EQ(pipeline.candidate(), nullptr);

    const auto count = [](const std::vector<Event>& events, const std::string& model) {
        return std::ranges::count_if(
            events, [&](const Event& each) { return each.phase == EventPhase::kClose && each.model == model; });
    };
    EXPECT_EQ(count(sink_.events(), "1111111111111111"), 1);
    EXPECT_EQ(count(sink_.events(), "2222222222222222"), 0);
    EXPECT_EQ(count(sink_.shadow_events(), "2222222222222222"), 2);
    EXPECT_EQ(count(sink_.shadow_events(), "1111111111111111"), 0);
    EXPECT_EQ(value("chorus_events_total{station=\"test\",channel=\"0\",code=\"TONE\",phase=\"open\",source=\"mic\"} "),
              1)
        << "the shadow's aren't counted there";
}

/// Windows of one channel that a live model has scored.
class OfferedShadow : public ShadowTest {
  protected:
    Window window(const std::shared_ptr<const Model>& model) {
        Window made;
        made.model = model;
        made.sample_rate_hz = 16'000;
        made.hop_seconds = 1;
        made.start_sample = next_++ * 16'000;
        made.end_sample = next_ * 16'000;
        made.features.resize(coarse_front_end().feature_size());
        return made;
    }
    void offer(Shadow& shadow, const std::shared_ptr<const Model>& model, int count) {
        for (int i = 0; i < count; ++i) shadow.offer("mic", window(model), std::vector<float>{0.0F});
    }

    std::int64_t next_ = 0;
    std::atomic<bool> live_waits_{false};
};

TEST_F(OfferedShadow, GivesWayToTheAnalysisButNotWithoutEnd) {
    const int own = getpriority(PRIO_PROCESS, 0);
    const auto live = model(live_, "1111111111111111", 0.5F);
    Shadow shadow(
        "test", [&] { return false; }, sink_, metrics_);
    shadow.compare(live, model(candidate_, "2222222222222222", 0.5F), {});
    offer(shadow, live, 1);
    ASSERT_TRUE(eventually([&] { return windows("agreed") == 1; }));
    int found = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::getline(std::ifstream(task.path() / "comm"), name);
        if (name != "shadow") continue;
        const auto id = std::stoi(task.path().filename());
        EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(id)), 19);
        EXPECT_EQ(sched_getscheduler(id), SCHED_OTHER) << "it may hold a lock that the analysis waits for";
        ++found;
    }
    EXPECT_EQ(found, 1);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), own) << "of no other thread";
}

TEST_F(OfferedShadow, RestsWhileTheLiveModelNeedsTheTimeAndSkipsWhatIsTooMuch) {
    const auto live = model(live_, "1111111111111111", 0.5F);
    Shadow shadow(
        "test", [&] { return live_waits_.load(); }, sink_, metrics_);
    offer(shadow, live, 10);
    EXPECT_EQ(windows("skipped"), 0) << "there is no candidate";
    shadow.compare(live, model(candidate_, "2222222222222222", 0.5F), {});
    live_waits_ = true;
    const int too_many = static_cast<int>(Shadow::kRoom) + 10;
    offer(shadow, live, too_many);
    EXPECT_TRUE(eventually([&] { return windows("skipped") >= 9; })) << "it may hold one";
    EXPECT_EQ(windows("agreed"), 0);
    const auto skipped = windows("skipped");
    live_waits_ = false;
    EXPECT_TRUE(eventually([&] { return windows("agreed") + skipped == too_many; })) << windows("agreed");
    shadow.stop();
    EXPECT_EQ(windows("skipped"), skipped);
}

TEST_F(OfferedShadow, PassesOverWindowsOfAnotherLiveModel) {
    const auto live = model(live_, "1111111111111111", 0.5F);
    const auto next = model(live_, "3333333333333333", 0.5F);
    Shadow shadow(
        "test", [] { return false; }, sink_, metrics_);
    shadow.compare(live, model(candidate_, "2222222222222222", 0.5F), {});
    offer(shadow, live, 5);
    ASSERT_TRUE(eventually([&] { return windows("agreed") == 5; }));
    shadow.compare(next, shadow.candidate(), {});
    offer(shadow, live, 3);
    offer(shadow, next, 4);
    ASSERT_TRUE(eventually([&] { return windows("agreed") == 9; }));
    shadow.stop();
    EXPECT_EQ(windows("agreed"), 9);
}

TEST_F(OfferedShadow, GivesUpACandidateThatFailsAndTakesAnother) {
    class Broken : public ToneClassifier {
        void score(std::span<const std::span<const float>>, std::span<float> scores) override {
            std::fill(scores.begin(), scores.end(), NAN);
        }
    } broken;
    const auto live = model(live_, "1111111111111111", 0.5F);
    Shadow shadow(
        "test", [] { return false; }, sink_, metrics_);
    shadow.compare(live, model(broken, "2222222222222222", 0.5F), {});
    offer(shadow, live, 3);
    ASSERT_TRUE(eventually([&] { return shadow.candidate() == nullptr; }));
    EXPECT_EQ(windows("failed"), 1);
    EXPECT_THAT(metrics_.text(), testing::Not(HasSubstr("chorus_shadow_model_info{")));
    shadow.compare(live, model(candidate_, "3333333333333333", 0.5F), {});
    offer(shadow, live, 3);
    EXPECT_TRUE(eventually([&] { return windows("agreed") == 3; }));
}

TEST_F(ShadowTest, RefusesACandidateWithAnotherFrontEnd) {
    Pipeline pipeline(config(), model(live_, "1111111111111111", 0.5F), sink_, metrics_,
                      [](const SourceConfig&) { return std::make_unique<EndlessSource>(); });
    pipeline.start();
    auto bundle = tone_bundle();
    bundle.id = "2222222222222222";
    bundle.front_end.mels = 64;
    try {
        pipeline.shadow(model_of(bundle, candidate_));
        FAIL() << "it can't score these windows";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("2222222222222222"));
    }
    EXPECT_EQ(pipeline.candidate(), nullptr);
}

}  // namespace
}  // namespace chorus
