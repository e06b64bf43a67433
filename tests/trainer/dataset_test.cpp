#include "trainer/dataset.h"

#include <gmock/gmock.h>

#include "tests/trainer/support.h"
#include "trainer/splits.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kHeader = "sample_name,fname,min_t,max_t,site,date,species_number,subset,AAA,BBB\n";

class AnuraSetFolder : public testing::Test {
  protected:
    /// Empty files stand for clips: reading the manifest looks only whether they are there.
    void add_clip(const std::string& name) { write_text(folder_ / ("audio/" + name), ""); }

    Dataset read(const std::string& manifest) {
        write_text(folder_ / "metadata.csv", manifest);
        return read_anuraset(folder_.path(), 3.0);
    }

    auto failure(const std::string& manifest) {
        return [this, manifest] { read(manifest); };
    }

    TemporaryFolder folder_;
};

auto fails_with(const std::string& text) {
    return testing::ThrowsMessage<std::runtime_error>(HasSubstr(text));
}

TEST_F(AnuraSetFolder, NamesItsSpeciesIfItSaysHow) {
    EXPECT_TRUE(read_species(folder_.path()).empty());
    write_text(folder_ / "species.csv", "group,code,name\nrare,AAA,\"Alpha, the first\"\n");
    const auto species = read_species(folder_.path());
    ASSERT_EQ(species.size(), 1U);
    EXPECT_EQ(species.at("AAA").name, "Alpha, the first");
    EXPECT_EQ(species.at("AAA").group, "rare");
    write_text(folder_ / "species.csv", "code,name,group\nAAA\n");
    EXPECT_THAT([this] { read_species(folder_.path()); }, fails_with("line 2"));
}

TEST_F(AnuraSetFolder, GivesClipsWithLabelsRecordingsAndSubsets) {
    add_clip("S1/S1_a_0_3.wav");
    add_clip("S2/S2_b_1_4.wav");
    const auto dataset =
        read(std::string(kHeader) + "x,S1_a,0,3,S1,2026-01-01,1,train,0,1\nx,S2_b,1,4,S2,2026-01-01,2,test,1,1\n");
    ASSERT_EQ(dataset.clips.size(), 2U);
    EXPECT_THAT(dataset.classes, ElementsAre("AAA", "BBB"));
    EXPECT_EQ(dataset.clips[0].recording, "S1_a");
    EXPECT_EQ(dataset.clips[0].subset, Subset::kTrain);
    EXPECT_THAT(dataset.clips[0].targets, ElementsAre(0, 1));
    EXPECT_EQ(dataset.clips[1].subset, Subset::kTest);
    EXPECT_EQ(dataset.clips[1].audio, folder_ / "audio/S2/S2_b_1_4.wav");
    EXPECT_TRUE(dataset.left_out.empty());
    EXPECT_THAT(count_positives(dataset, Subset::kTest), ElementsAre(1, 1));
}

TEST_F(AnuraSetFolder, FindsColumnsByNameInAnyOrderAndIgnoresNotes) {
    add_clip("S1/S1_a_0_3.wav");
    add_clip("S1/S1_b_0_3.wav");
    const auto dataset =
        read("subset,AAA,fname,remark,max_t,min_t\ntrain,1,S1_a,\"loud, far\",3,0\ntrain,0,S1_b,,3,0\n");
    EXPECT_EQ(dataset.clips.size(), 2U);
    EXPECT_THAT(dataset.classes, ElementsAre("AAA"));
}

TEST_F(AnuraSetFolder, HashesTheManifestItself) {
    add_clip("S1/S1_a_0_3.wav");
    const auto manifest = std::string(kHeader) + "x,S1_a,0,3,S1,d,1,train,0,1\n";
    const auto first = read(manifest).manifest_hash;
    EXPECT_EQ(first.size(), 64U);
    EXPECT_EQ(read(manifest).manifest_hash, first);
    EXPECT_NE(read(manifest + "x,S1_b,0,3,S1,d,1,train,0,1\n").manifest_hash, first);
}

TEST_F(AnuraSetFolder, ListsEveryRowItCannotUseWithTheReason) {
    add_clip("S1/S1_a_0_3.wav");
    add_clip("S1/S1_b_0_3.wav");
    const auto dataset = read(std::string(kHeader) +
                              "x,S1_a,0,3,S1,d,1,train,0,1\n"
                              "x,S1_b,0,3,S1,d,1,train,0,2\n"     // no presence
                              "x,S1_b,zero,3,S1,d,1,train,0,1\n"  // no number
                              "x,S1_b,0,8,S1,d,1,train,0,1\n"     // too long
                              "x,S1_b,0,3,S1,d,1,valid,0,1\n"     // no subset
                              "x,../S1_b,0,3,S1,d,1,train,0,1\n"  // leads elsewhere
                              "x,S1_b,0,3\n"                      // too few fields
                              "x,S1_c,0,3,S1,d,1,train,0,1\n"     // no file
                              "x,S1_a,0,3,S1,d,1,train,1,1\n");   // twice
    EXPECT_EQ(dataset.clips.size(), 1U);
    std::vector<std::string> lines;
    for (const auto& [item, reason] : dataset.left_out) lines.push_back(item + ": " + reason);
    EXPECT_THAT(
        lines,
        ElementsAre("metadata.csv:3: '2' is neither 0 nor 1", "metadata.csv:4: min_t 'zero' is no time in seconds",
                    "metadata.csv:5: lasts 8 s, a window 3 s",
                    "metadata.csv:6: subset 'valid' is neither train nor test",
                    "metadata.csv:7: fname '../S1_b' is no plain name", "metadata.csv:8: 4 fields, not 10",
                    (folder_ / "audio/S1/S1_c_0_3.wav").string() + ": no such file",
                    "metadata.csv:10: a second row for S1_a_0_3.wav"));
}

TEST_F(AnuraSetFolder, TrainsOnNoRecordingThatIsTested) {
    add_clip("S1/S1_a_0_3.wav");
    add_clip("S1/S1_a_1_4.wav");
    const auto dataset = read(std::string(kHeader) + "x,S1_a,0,3,S1,d,1,train,0,1\nx,S1_a,1,4,S1,d,1,test,0,1\n");
    ASSERT_EQ(dataset.clips.size(), 1U);
    EXPECT_EQ(dataset.clips[0].subset, Subset::kTest);
    EXPECT_THAT(dataset.left_out.at(0).reason, HasSubstr("also in the test subset"));
}

TEST_F(AnuraSetFolder, SaysInOneLineWhatAManifestLacks) {
    EXPECT_THAT(failure("sample_name,fname,min_t,max_t,AAA\nx,S1_a,0,3,1\n"),
                fails_with("metadata.csv: no column 'subset'"));
    EXPECT_THAT(failure("fname,min_t,max_t,subset\nS1_a,0,3,train\n"), fails_with("no 0/1 column after 'subset'"));
    EXPECT_THAT(failure("fname,min_t,max_t,subset,A,A\nS1_a,0,3,train,0,1\n"), fails_with("two columns 'A'"));
    EXPECT_THAT(failure("fname,min_t,max_t,subset,A B\nS1_a,0,3,train,0\n"), fails_with("no class code"));
    EXPECT_THAT(failure(""), fails_with("is empty"));
    EXPECT_THAT(failure(std::string(kHeader)), fails_with("has no rows"));
    EXPECT_THAT(failure(std::string(kHeader) + "x,S1_a,0,3,S1,d,1,train,0,1\n"),
                fails_with("none of 1 rows can be used"));
    EXPECT_THAT(failure(std::string(kHeader) + "\"x,S1_a,0,3\n"), fails_with("line 2: a quote is never closed"));
    EXPECT_THAT([] { read_anuraset("/nonexistent", 3.0); }, fails_with("/nonexistent/metadata.csv: No such file"));
}

TEST(Splits, KeepAllClipsOfARecordingOnOneSide) {
    Dataset dataset;
    for (int i = 0; i < 3000; ++i)
        dataset.clips.push_back({.audio = "x",
                                 .recording = std::string("R").append(std::to_string(i / 3)),
                                 .subset = i < 2400 ? Subset::kTrain : Subset::kTest,
                                 .targets = {}});
    const auto split = split_by_recording(dataset);
    EXPECT_EQ(split.training.size() + split.validation.size() + split.test.size(), 3000U);
    EXPECT_EQ(split.test.size(), 600U);
    for (const auto row : split.validation) EXPECT_TRUE(is_held_out(dataset.clips[row].recording));
    for (const auto row : split.training) EXPECT_FALSE(is_held_out(dataset.clips[row].recording));
    EXPECT_NEAR(static_cast<double>(split.validation.size()) / 2400.0, kHeldOutShare, 0.04);
}

TEST(Splits, NeverMoveARecording) {
    // SHA-256("a") begins ca978112ca1bb (0.791 of all), SHA-256("c") 2e7d2c03a9507 (0.182).
    EXPECT_FALSE(is_held_out("a", 0.79));
    EXPECT_TRUE(is_held_out("a", 0.80));
    EXPECT_FALSE(is_held_out("c", 0.18));
    EXPECT_TRUE(is_held_out("c", 0.19));
}

TEST(Session, IsSiteAndDateAsFarAsANameTells) {
    EXPECT_EQ(session_of("POND_20260101_050000"), "POND_20260101");
    EXPECT_EQ(session_of("POND_20260101T050000Z_gate_0_20260101"), "POND_20260101");
    EXPECT_EQ(session_of("pond-7_20261123_021407Z_gate_3_4711"), "pond-7_20261123");
    EXPECT_EQ(session_of("INCT4_20191125_234500_12_15"), "INCT4_20191125");
    EXPECT_EQ(session_of("20260101_050000"), "20260101");
    EXPECT_EQ(session_of("bullfrog-1"), "bullfrog-1");
    EXPECT_EQ(session_of("POND_20261301_050000"), "POND_20261301_050000") << "no such month";
    EXPECT_EQ(session_of(""), "");
}

}  // namespace
}  // namespace chorus
