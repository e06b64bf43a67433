// What changes while sound flows: the configuration, and the hop under overload.

#include <gmock/gmock.h>

#include "daemon/pipeline.h"
#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kRate = EndlessSource::kRate;

SourceConfig source(const std::string& name, const std::string& launch = "x") {
    SourceConfig made;
    made.name = name;
    made.launch = launch;
    return made;
}

struct Running {
    explicit Running(
        Config config,
        SourceRunner::Opener open = [](const SourceConfig&) { return std::make_unique<EndlessSource>(); })
        : pipeline(std::move(config), model_of(bundle, classifier), sink, metrics, std::move(open)) {}

    static Config config(std::vector<SourceConfig> sources) {
        Config made;
        made.station = "test";
        made.hop_seconds = 0.25;
        made.detection.merge_gap_seconds = 0;
        made.sources = std::move(sources);
        return made;
    }
    std::int64_t analysed(const std::string& name) {
        for (const auto& report : pipeline.sources()) {
            if (report.name == name && !report.channels.empty()) return report.channels[0].samples.analysed;
        }
        return 0;
    }
    template <class Condition>
    bool wait_for(Condition condition) {
        const auto deadline = std::chrono::steady_clock::now() + 30s;
        while (std::chrono::steady_clock::now() < deadline) {
            if (condition()) return true;
            std::this_thread::sleep_for(2ms);
        }
        return false;
    }
    std::vector<std::string> names() {
        std::vector<std::string> all;
        for (const auto& report : pipeline.sources()) all.push_back(report.name);
        return all;
    }

    const Bundle bundle = tone_bundle();
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics{"test"};
    Pipeline pipeline;
};

TEST(Reload, ForgetsTheSourcesThatAreGone) {
    const auto token = std::make_shared<int>();  // held by every source
    Running running(Running::config({source("a")}),
                    [token](const SourceConfig&) { return std::make_unique<EndlessSource>(); });
    running.pipeline.start();
    const auto held = token.use_count();
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > kRate; }));
        running.pipeline.reload(Running::config({source("a", std::to_string(i))}));
    }
    EXPECT_TRUE(running.wait_for([&] {
        running.pipeline.supervise(std::chrono::steady_clock::now());
        return token.use_count() <= held;
    })) << token.use_count();
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > kRate; }));
    running.pipeline.stop(10s);
    running.pipeline.rethrow_failure();
}

TEST(Reload, BeginsAndEndsSourcesAndLeavesTheOthersAlone) {
    Running running(Running::config({source("a"), source("b"), source("c")}));
    running.pipeline.start();
    for (const auto* name : {"a", "b", "c"})
        ASSERT_TRUE(running.wait_for([&] { return running.analysed(name) > kRate; }));

    const auto before = running.analysed("a");
    running.pipeline.reload(Running::config({source("a"), source("c", "y"), source("d")}));
    EXPECT_THAT(running.names(), ElementsAre("a", "c", "d"));
    EXPECT_GE(running.analysed("a"), before) << "not touched";
    EXPECT_LT(running.analysed("c"), before) << "begun anew";
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > before + kRate; }));
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("d") > kRate; }));
    EXPECT_EQ(running.pipeline.sources()[0].reconnects, 0);
    EXPECT_FALSE(running.pipeline.finished());
    EXPECT_THAT(running.metrics.text(), testing::Not(HasSubstr("source=\"b\",channel=\"0\",reason")));

    running.pipeline.stop(10s);
    running.pipeline.rethrow_failure();
    for (const auto& report : running.pipeline.sources()) {
        EXPECT_TRUE(report.channels[0].samples.balanced()) << report.name;
        EXPECT_EQ(report.channels[0].samples.pending, 0) << report.name;
    }
    std::map<std::string, EventPhase> phases;
    for (const auto& event : running.sink.events()) phases[event_id(event)] = event.phase;
    for (const auto& [id, phase] : phases) EXPECT_EQ(phase, EventPhase::kClose) << id;
}

TEST(Reload, DoesNotWaitForASourceWhoseOpeningHangs) {
    const auto gate = std::make_shared<Gate>();
    const auto closed = std::make_shared<std::atomic<bool>>(false);
    class Late : public EndlessSource {
      public:
        explicit Late(std::shared_ptr<std::atomic<bool>> closed) : closed_(std::move(closed)) {}
        ~Late() override { *closed_ = true; }

      private:
        std::shared_ptr<std::atomic<bool>> closed_;
    };
    Running running(Running::config({source("hangs"), source("a")}),
                    [=](const SourceConfig& wanted) -> std::unique_ptr<AudioSource> {
                        if (wanted.name != "hangs") return std::make_unique<EndlessSource>();
                        gate->pass();
                        return std::make_unique<Late>(closed);
                    });
    running.pipeline.start();
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > kRate; }));
    const auto begun = std::chrono::steady_clock::now();
    running.pipeline.reload(Running::config({source("a"), source("b")}));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
    EXPECT_THAT(running.names(), ElementsAre("a", "b"));
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("b") > kRate; }));
    gate->open();
    EXPECT_TRUE(running.wait_for([&] { return closed->load(); })) << "what was opened too late is closed";
}

TEST(Reload, NewRulesCloseOpenEventsAndHoldFromThenOn) {
    Running running(Running::config({source("a")}));
    running.pipeline.start();
    ASSERT_TRUE(running.wait_for([&] { return running.sink.events().size() > 4; }));
    auto deaf = Running::config({source("a")});
    deaf.detection.thresholds["TONE"] = 1.0;
    running.pipeline.reload(deaf);
    const auto begun = running.analysed("a");
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > begun + 3 * kRate; }));
    const auto events = running.sink.events();
    std::map<std::string, EventPhase> phases;
    for (const auto& event : events) phases[event_id(event)] = event.phase;
    for (const auto& [id, phase] : phases) EXPECT_EQ(phase, EventPhase::kClose) << id;
    ASSERT_TRUE(running.wait_for([&] { return running.analysed("a") > begun + 20 * kRate; }));
    EXPECT_EQ(running.sink.events().size(), events.size()) << "none reaches a threshold of 1";
}

TEST(Overload, WidensTheHopAndNarrowsItAgain) {
    auto config = Running::config({source("a")});
    config.widen_hop = true;
    config.queue_windows = 8;
    Running running(config);
    const auto hop = [&] { return running.pipeline.sources()[0].hop_seconds; };
    running.classifier.hold(true);
    running.pipeline.start();
    ASSERT_TRUE(running.wait_for([&] { return hop() > 0; }));
    EXPECT_EQ(hop(), 0.25);
    MonotonicTime now{};
    ASSERT_TRUE(running.wait_for([&] {
        running.pipeline.supervise(now += 1s);
        return hop() == 1.0;  // a window, and no wider
    }));
    running.classifier.hold(false);
    ASSERT_TRUE(running.wait_for([&] {
        running.pipeline.supervise(now += 1s);
        return hop() == 0.25;
    }));
    running.pipeline.stop(10s);
    const auto samples = running.pipeline.sources()[0].channels[0].samples;
    EXPECT_TRUE(samples.balanced());
    double widest = 0;
    for (const auto& event : running.sink.events()) widest = std::max(widest, event.hop_seconds);
    EXPECT_GT(widest, 0.25) << "events say what they rest on";
}

TEST(Overload, IsDroppedAndCountedWhereTheHopStays) {
    auto config = Running::config({source("a")});
    config.queue_windows = 8;
    Running running(config);
    running.classifier.hold(true);
    running.pipeline.start();
    const auto dropped = [&] {
        const auto report = running.pipeline.sources()[0];
        return report.channels.empty()
                   ? 0
                   : report.channels[0].samples.dropped[static_cast<std::size_t>(DropReason::kOverload)];
    };
    ASSERT_TRUE(running.wait_for([&] { return dropped() > 0; }));
    running.pipeline.supervise(MonotonicTime{});
    EXPECT_EQ(running.pipeline.sources()[0].hop_seconds, 0.25);
    running.classifier.hold(false);
    running.pipeline.stop(10s);
    EXPECT_TRUE(running.pipeline.sources()[0].channels[0].samples.balanced());
}

}  // namespace
}  // namespace chorus
