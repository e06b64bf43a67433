#include "daemon/event.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "daemon/event_maker.h"
#include "daemon/event_writer.h"
#include "daemon/time_format.h"
#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

Event example() {
    Event event;
    event.phase = EventPhase::kClose;
    event.station = "pond-7";
    event.source = "array";
    event.channel = 3;
    event.code = "BOAALB";
    event.label = "Boana albopunctata";
    event.start = from_iso8601("2026-11-23T02:14:07.12Z");
    event.end = from_iso8601("2026-11-23T02:14:10.12Z");
    event.start_sample = 96'000;
    event.end_sample = 240'000;
    event.sample_rate_hz = 48'000;
    event.peak_score = 0.93F;
    event.mean_score = 0.88;
    event.windows = 1;
    event.threshold = 0.41F;
    event.model = "9f2c9f2c9f2c9f2c";
    return event;
}

TEST(Event, SpeaksAsTheSchemaSays) {
    auto event = example();
    event.seq = 4711;
    const auto json = nlohmann::json::parse(to_json(event));
    EXPECT_EQ(json["schema"], "chorus.event/1");
    EXPECT_EQ(json["phase"], "close");
    EXPECT_EQ(json["seq"], 4711);
    EXPECT_EQ(json["start"], "2026-11-23T02:14:07.120000Z");
    EXPECT_EQ(json["peak_score"], 0.93);
    EXPECT_TRUE(json["clip"].is_null());
    EXPECT_EQ(topic_of(event), "event.pond-7.array.3.BOAALB");
    EXPECT_TRUE(json["group"].is_null());
    EXPECT_TRUE(json["prior"].is_null());
    event.prior = -0.25;
    EXPECT_EQ(nlohmann::json::parse(to_json(event))["prior"], -0.25);
    event.group = EventGroup{event_id(event), "LOUDEST"};
    EXPECT_EQ(nlohmann::json::parse(to_json(event))["group"], event_id(event));
    EXPECT_EQ(nlohmann::json::parse(to_json(event))["group_strongest"], "LOUDEST");
    event.start.reset();
    EXPECT_TRUE(nlohmann::json::parse(to_json(event))["start"].is_null());
}

TEST(Event, KeepsItsIdThroughItsPhasesAndSharesItWithNoOther) {
    const auto event = example();
    const auto id = event_id(event);
    EXPECT_EQ(id.size(), 26U);
    EXPECT_EQ(id.substr(0, 10), "01M832X6GG") << "the start in milliseconds, so that ids sort by time";
    auto grown = event;
    grown.phase = EventPhase::kUpdate;
    grown.end_sample += 1;
    grown.peak_score = 1;
    EXPECT_EQ(event_id(grown), id);
    for (auto change : std::vector<std::function<void(Event&)>>{
             [](Event& e) { e.channel = 2; }, [](Event& e) { e.code = "X"; }, [](Event& e) { e.start_sample += 1; },
             [](Event& e) { e.model = "0"; }, [](Event& e) { e.source = "b"; }, [](Event& e) { e.station = "p"; }}) {
        auto other = event;
        change(other);
        EXPECT_NE(event_id(other), id);
    }
}

TEST(EventWriter, WritesCsvWithQuotesWhereNeeded) {
    std::ostringstream out;
    auto event = example();
    event.file = "a, \"b\".wav";
    make_event_writer("csv", out, 0, 8000)->write(event);
    EXPECT_THAT(
        out.str(),
        testing::HasSubstr(
            "\n\"a, \"\"b\"\".wav\",3,BOAALB,Boana albopunctata,2.000000,5.000000,2026-11-23T02:14:07.120000Z,"));
}

TEST(EventWriter, WritesARavenSelectionTable) {
    std::ostringstream out;
    auto event = example();
    event.file = "folder/a\tb.wav";
    const auto writer = make_event_writer("raven", out, 0, 8000);
    writer->write(event);
    writer->write(event);
    EXPECT_THAT(
        out.str(),
        testing::StartsWith("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"));
    EXPECT_THAT(out.str(), testing::HasSubstr("\n2\tSpectrogram 1\t4\t2.000000\t5.000000\t0.0\t8000.0\ta "
                                              "b.wav\t2.000000\tBOAALB\tBoana albopunctata\t0.9300\n"));
}

TEST(EventWriter, AddsGroupAndPriorWhereTheyAreSwitchedOn) {
    const auto table = [](const std::string& format, bool grouped) {
        std::ostringstream out;
        auto event = example();
        event.group = EventGroup{"FIRST", "LOUDEST"};
        make_event_writer(format, out, 0, 8000, {.group = grouped})->write(event);
        return out.str();
    };
    EXPECT_THAT(table("csv", true), testing::AllOf(testing::HasSubstr(",id,group,group_strongest\n"),
                                                   testing::EndsWith("," + event_id(example()) + ",FIRST,LOUDEST\n")));
    EXPECT_THAT(table("csv", false), testing::EndsWith("," + event_id(example()) + "\n"));
    std::ostringstream out;
    make_event_writer("csv", out, 0, 8000, {.prior = true})->write(example());
    EXPECT_THAT(out.str(),
                testing::AllOf(testing::HasSubstr(",id,prior\n"), testing::EndsWith(event_id(example()) + ",\n")));
    EXPECT_THAT(table("raven", true),
                testing::AllOf(testing::HasSubstr("\tScore\tGroup\n"), testing::EndsWith("\t0.9300\tFIRST\n")));
    EXPECT_THAT(table("raven", false), testing::Not(testing::HasSubstr("FIRST")));
}

TEST(EventWriter, RefusesAFormatItDoesNotKnow) {
    std::ostringstream out;
    EXPECT_THROW(make_event_writer("xml", out, 0, 8000), std::invalid_argument);
}

TEST(Event, HasAnIdOfItsOwnWhereNoTimeIsKnown) {
    auto event = example();
    event.start.reset();
    const auto of_a_file = event_id(event);
    event.opened = *from_iso8601("2026-11-23T02:00:00Z");
    const auto before = event_id(event);
    event.opened = *from_iso8601("2026-11-23T03:00:00Z");
    EXPECT_NE(event_id(event), before) << "the same index after another start";
    EXPECT_NE(of_a_file, before);
}

TEST(EventMaker, ClosesEventsOfAChannelThatIsGoneThoughItsMarkWasDropped) {
    ToneClassifier classifier;
    RecordingSink sink;
    Metrics metrics("test");
    EventMaker maker("test", {}, model_of(tone_bundle(), classifier), sink, &metrics);
    Window window;
    window.sample_rate_hz = 1'000;
    window.end_sample = 1'000;
    window.hop_seconds = 1;
    const std::vector<float> loud = {0.9F};
    for (window.channel = 0; window.channel < 2; ++window.channel) maker.add("array", window, loud);
    ASSERT_EQ(sink.events().size(), 2U);
    window.channel = 0;
    window.stretch = 1;
    window.start_sample = 5'000;
    window.end_sample = 6'000;
    maker.add("array", window, loud);
    std::map<int, EventPhase> phases;
    for (const auto& event : sink.events()) {
        if (event.start_sample == 0) phases[event.channel] = event.phase;
    }
    EXPECT_EQ(phases[0], EventPhase::kClose);
    EXPECT_EQ(phases[1], EventPhase::kClose);
}

}  // namespace
}  // namespace chorus
