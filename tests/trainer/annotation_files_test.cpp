#include "trainer/annotation_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

auto fails_with(const std::string& text) {
    return testing::ThrowsMessage<std::runtime_error>(HasSubstr(text));
}

std::vector<std::string> reasons(const AnnotationText& text) {
    std::vector<std::string> lines;
    for (const auto& [line, reason] : text.bad_lines) lines.push_back(fmt::format("{}: {}", line, reason));
    return lines;
}

TEST(RavenTable, GivesTimesChannelsAndLabels) {
    const auto text = parse_raven_table(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\r\n"
        "1\tSpectrogram 1\t2\t0.5\t1.75\tBOAALB; Physalaemus cuvieri\r\n"
        "\r\n"
        "2\tSpectrogram 1\t1\t10\t12\t PHYCUV \r\n");
    ASSERT_EQ(text.annotations.size(), 2U);
    EXPECT_EQ(text.annotations[0].start_seconds, 0.5);
    EXPECT_EQ(text.annotations[0].end_seconds, 1.75);
    EXPECT_EQ(text.annotations[0].channel, 1);
    EXPECT_EQ(text.annotations[0].line, 2);
    EXPECT_THAT(text.annotations[0].labels, ElementsAre("BOAALB", "Physalaemus cuvieri"));
    EXPECT_THAT(text.annotations[1].labels, ElementsAre("PHYCUV"));
    EXPECT_EQ(text.annotations[1].line, 4);
    EXPECT_THAT(text.bad_lines, IsEmpty());
}

TEST(RavenTable, CountsTimesWithinEachFileOfATableOverSeveral) {
    const auto text = parse_raven_table(
        "Begin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\n"
        "63\t64.5\tPOND_b.wav\t3\tA\n"
        "70\t71\t\t\tA\n");
    ASSERT_EQ(text.annotations.size(), 2U);
    EXPECT_EQ(text.annotations[0].file, "POND_b.wav");
    EXPECT_EQ(text.annotations[0].start_seconds, 3.0);
    EXPECT_EQ(text.annotations[0].end_seconds, 4.5);
    EXPECT_EQ(text.annotations[1].file, "");
    EXPECT_EQ(text.annotations[1].start_seconds, 70.0);
}

TEST(RavenTable, PrefersCodesToNamesAsLabels) {
    const auto text =
        parse_raven_table("Begin Time (s)\tEnd Time (s)\tAnnotation\tSPECIES CODE\n1\t2\tloud\tBOAALB\n3\t4\tloud\n");
    EXPECT_THAT(text.annotations.at(0).labels, ElementsAre("BOAALB"));
    EXPECT_THAT(reasons(text), ElementsAre("3: has no label"));
}

TEST(RavenTable, SaysWhatALineOrTheWholeLacks) {
    const auto text = parse_raven_table(
        "Begin Time (s)\tEnd Time "
        "(s)\tChannel\tSpecies\n2\t1\t1\tA\n-1\t1\t1\tA\n0\tx\t1\tA\n0\t1\t0\tA\n0\t1e9\t1\tA\n0\t1\t\tA\n");
    EXPECT_EQ(text.annotations.size(), 1U);
    EXPECT_THAT(reasons(text),
                ElementsAre("2: ends at 1 s, before or where it begins, at 2 s",
                            "3: begin time '-1' is no time in a recording", "4: end time 'x' is no number",
                            "5: channel '0' must be 1 to 1024", "6: end time '1e9' is no time in a recording"));
    EXPECT_THAT([] { parse_raven_table(""); }, fails_with("is empty"));
    EXPECT_THAT([] { parse_raven_table("Begin Time (s)\tSpecies\n"); }, fails_with("no column 'end time (s)'"));
    EXPECT_THAT([] { parse_raven_table("Begin Time (s)\tEnd Time (s)\n"); }, fails_with("no column 'Species'"));
}

TEST(RavenTable, IsToldFromALabelTrack) {
    EXPECT_TRUE(is_raven_table("\xEF\xBB\xBFSelection\tBegin Time (s)\n"));
    EXPECT_FALSE(is_raven_table("0.5\t1.5\tBOAALB\n"));
    EXPECT_FALSE(is_raven_table(""));
}

TEST(LabelTrack, GivesStretchesAndPassesOverFrequencies) {
    const auto text = parse_label_track("0.5\t1.5\tBOAALB_H\n\\\t300.0\t4000.0\n2\t3\tPHYCUV,BOAALB\n");
    ASSERT_EQ(text.annotations.size(), 2U);
    EXPECT_THAT(text.annotations[0].labels, ElementsAre("BOAALB_H"));
    EXPECT_THAT(text.annotations[1].labels, ElementsAre("PHYCUV", "BOAALB"));
    EXPECT_EQ(text.annotations[1].line, 3);
    EXPECT_THAT(parse_label_track("").annotations, IsEmpty());
}

TEST(LabelTrack, ListsMalformedLines) {
    EXPECT_THAT(reasons(parse_label_track("0.5 1.5 A\n1\t2\t\n3\t3\tA\n")),
                ElementsAre("1: 1 fields, not start, end and label", "2: has no label",
                            "3: ends at 3 s, before or where it begins, at 3 s"));
}

TEST(Esc50, GivesCategoriesSourcesAndFolds) {
    const auto text = parse_esc50(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n5-9032-A-0.wav,5,0,dog,False,9032,A\nx.wav,0,0,dog,False,1,A\n",
        5);
    ASSERT_EQ(text.annotations.size(), 2U);
    EXPECT_EQ(text.annotations[0].subset, Subset::kTrain);
    EXPECT_EQ(text.annotations[0].recording, "100032");
    EXPECT_EQ(text.annotations[1].subset, Subset::kTest);
    EXPECT_FALSE(text.annotations[1].end_seconds.has_value());
    EXPECT_THAT(reasons(text), ElementsAre("4: fold '0' must be 1 to 1000"));
}

TEST(LabelCsv, GivesStretchesWholeFilesAndAbsences) {
    const auto text = parse_label_csv(
        "codes,file,start_s,end_s,channel,subset\n"
        "BOAALB|PHYCUV,\"a, b.wav\",1.5,2.5,0,test\n"
        "BOAALB,c.flac,,,,\n"
        ",c.flac,0,10,,train\n");
    ASSERT_EQ(text.annotations.size(), 3U);
    EXPECT_EQ(text.annotations[0].file, "a, b.wav");
    EXPECT_THAT(text.annotations[0].labels, ElementsAre("BOAALB", "PHYCUV"));
    EXPECT_EQ(text.annotations[0].channel, 0);
    EXPECT_EQ(text.annotations[0].subset, Subset::kTest);
    EXPECT_EQ(text.annotations[1].start_seconds, 0.0);
    EXPECT_FALSE(text.annotations[1].end_seconds.has_value());
    EXPECT_FALSE(text.annotations[1].subset.has_value());
    EXPECT_THAT(text.annotations[2].labels, IsEmpty());
}

TEST(LabelCsv, ListsRowsItCannotUse) {
    const auto text =
        parse_label_csv("file,start_s,end_s,codes,subset\na.wav,5,4,A,\n,1,2,A,\na.wav,1,2,A,valid\na.wav,1\n");
    EXPECT_THAT(reasons(text), ElementsAre("2: ends at 4 s, before or where it begins, at 5 s", "3: names no file",
                                           "4: subset 'valid' is neither train nor test", "5: 2 fields, not 5"));
    EXPECT_THAT([] { parse_label_csv("file,start,end,codes\n"); }, fails_with("no column 'start_s'"));
}

}  // namespace
}  // namespace chorus
