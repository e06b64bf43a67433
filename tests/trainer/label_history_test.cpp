#include "trainer/label_history.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/trainer/station_folder.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class History : public testing::Test {
  protected:
    /// Imports labels of the recording a.wav.
    bool add(LabelFormat format, const std::string& file, std::vector<LabelledSpan> labels) {
        LabelHistory history(folder_.path());
        return history.add(
            {.utc = "2026-01-01T00:00:00Z",
             .file = file,
             .sha256 = file,
             .format = format,
             .recordings = {
                 {.file = "audio/1/a.wav", .from = "clips/a.wav", .recording = "a", .labels = std::move(labels)}}});
    }
    /// "[channel:]start-end codes", of what holds, read anew.
    std::vector<std::string> labels() const {
        std::vector<std::string> lines;
        const auto text = LabelHistory(folder_.path()).labels_csv();
        const auto parsed = parse_label_csv(text);
        EXPECT_THAT(parsed.bad_lines, IsEmpty());
        for (const auto& label : parsed.annotations)
            lines.push_back(fmt::format("{}{}-{} {}", label.channel ? fmt::format("{}:", *label.channel) : "",
                                        label.start_seconds, *label.end_seconds, fmt::join(label.labels, ";")));
        return lines;
    }

    TemporaryFolder folder_;
    static constexpr auto kCsv = LabelFormat::kCsv;
    static constexpr auto kRaven = LabelFormat::kRaven;
};

TEST_F(History, ReplacesALabelOfTheSameSpan) {
    add(kCsv, "1.csv", {{{}, 0, 3, {"A"}}, {{}, 0, 3, {"B"}}, {{}, 2, 5, {"C"}}, {1, 0, 3, {"D"}}});
    EXPECT_TRUE(add(kCsv, "2.csv", {{{}, 0, 3, {"E"}}}));
    EXPECT_THAT(labels(), ElementsAre("0-3 E", "2-5 C", "1:0-3 D"));
    EXPECT_FALSE(add(kCsv, "3.csv", {{{}, 0, 3, {"E"}}}));
}

TEST_F(History, ReplacesATableByTheNextOfItsName) {
    add(kRaven, "a.Table.1.selections.txt", {{{}, 0.5, 1, {"A"}}, {{}, 2, 3, {"B"}}});
    add(kRaven, "a.Table.2.selections.txt", {{{}, 0.25, 0.75, {"C"}}});
    EXPECT_THAT(labels(), ElementsAre("0.25-0.75 C", "0.5-1 A", "2-3 B")) << "others add to it";
    add(kRaven, "a.Table.1.selections.txt", {{{}, 0.6, 1, {"A"}}});
    EXPECT_THAT(labels(), ElementsAre("0.25-0.75 C", "0.6-1 A"));
}

TEST_F(History, LetsNothingHoldWhereNothingCalls) {
    add(kCsv, "1.csv", {{{}, 0, 10, {"A"}}, {0, 1, 2, {"B"}}, {1, 1, 9, {"C"}}, {{}, 20, 21, {"D"}}});
    add(kCsv, "2.csv", {{{}, 1, 3, {}}, {{}, 2, 5, {}}, {1, 8, 12, {}}});
    EXPECT_THAT(labels(), ElementsAre("0-1 A", "1-3 ", "2-5 ", "5-10 A", "20-21 D", "1:5-8 C", "1:8-12 "));
    EXPECT_FALSE(add(kCsv, "2.csv", {{{}, 1, 3, {}}, {{}, 2, 5, {}}, {1, 8, 12, {}}}));
    add(kCsv, "3.csv", {{{}, 2, 3, {"A"}}});
    EXPECT_THAT(labels(), testing::Contains("2-3 A")) << "a later call is one";
}

TEST_F(History, KeepsThatNoTimesWereTold) {
    constexpr auto* kHeader = "file,start_s,end_s,codes,channel,subset,recording\n";
    add(kCsv, "1.csv", {{{}, 0, 10, {"A"}, true}, {{}, 0, 10, {"B"}, true}});
    const auto text = [&] { return LabelHistory(folder_.path()).labels_csv(); };
    EXPECT_EQ(text(), std::string(kHeader) + "audio/1/a.wav,,,A,,train,a\naudio/1/a.wav,,,B,,train,a\n");
    add(kCsv, "2.csv", {{{}, 20, 21, {}}});
    EXPECT_THAT(text(), HasSubstr("a.wav,,,A,,train,a\n"));
    add(kCsv, "3.csv", {{{}, 0, 3, {}}});
    EXPECT_THAT(text(), HasSubstr("a.wav,3,10,A,,train,a\n"));
    add(kCsv, "4.csv", {{{}, 0, 10, {"C"}, true}});
    add(kCsv, "5.csv", {{{}, 0, 10, {"D"}}});
    EXPECT_THAT(text(), AllOf(HasSubstr("a.wav,0,10,D,"), Not(HasSubstr(",C,"))));
}

TEST_F(History, KeepsARecordingsNameAndSubset) {
    LabelHistory history(folder_.path());
    LabelImport import{.utc = "", .file = "1.csv", .sha256 = "1", .format = kCsv, .recordings = {{}}};
    auto& recording = import.recordings.front();
    recording = {.file = "audio/1/a,b.wav",
                 .from = "clips/a,b.wav",
                 .recording = "pond, at \"night\"",
                 .subset = Subset::kTest,
                 .labels = {{{}, 0, 3, {"A"}}}};
    ASSERT_TRUE(history.add(import));
    recording.subset = Subset::kTrain;
    recording.recording = "other";
    EXPECT_FALSE(history.add(import));
    EXPECT_EQ(history.subset_of("pond, at \"night\""), Subset::kTest);
    EXPECT_EQ(history.subset_of("other"), std::nullopt);
    const auto rows = parse_label_csv(history.labels_csv()).annotations;
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].file, "audio/1/a,b.wav");
    EXPECT_EQ(rows[0].recording, "pond, at \"night\"");
    EXPECT_EQ(rows[0].subset, Subset::kTest);
}

TEST_F(History, PassesOverALastLineThatWasCutShort) {
    add(kCsv, "1.csv", {{{}, 0, 3, {"A"}}});
    const auto first = text_of(folder_ / "history.jsonl");
    add(kCsv, "2.csv", {{{}, 0, 3, {"B"}}});
    const auto both = text_of(folder_ / "history.jsonl");
    for (std::size_t length = first.size(); length < both.size(); length += 7) {
        write_text(folder_ / "history.jsonl", both.substr(0, length));
        EXPECT_THAT(labels(), ElementsAre("0-3 A")) << length;
        EXPECT_TRUE(add(kCsv, "2.csv", {{{}, 0, 3, {"B"}}}));
        ASSERT_EQ(text_of(folder_ / "history.jsonl"), both) << length;
    }
}

TEST_F(History, RefusesALineThatIsNone) {
    add(kCsv, "1.csv", {{{}, 0, 3, {"A"}}});
    const auto line = text_of(folder_ / "history.jsonl");
    for (const auto* bad : {"{}", "junk", "", R"({"schema": "chorus.import/2"})"}) {
        write_text(folder_ / "history.jsonl", line + bad + '\n' + line);
        EXPECT_THAT([&] { labels(); },
                    testing::ThrowsMessage<std::runtime_error>(HasSubstr("history.jsonl:2: is no import of labels: ")))
            << bad;
    }
}

}  // namespace
}  // namespace chorus
