// Label files of every format, from the inbox to what a training reads.

#include "trainer/label_import.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/trainer/station_folder.h"
#include "trainer/layouts.h"
#include "trainer/splits.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

constexpr auto kRavenHeader = "Selection\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n";

class LabelImport : public testing::Test {
  protected:
    /// The subset that the hash of a recording's name gives.
    static std::string subset(const std::string& recording) {
        return subset_by_name(recording, 0.2) == Subset::kTest ? "test" : "train";
    }
    std::string row(const std::string& start_of_row, const std::string& recording) {
        return fmt::format("{},{},{}", start_of_row, subset(recording), recording);
    }

    StationFolder station_;
};

TEST_F(LabelImport, TakesRavenTables) {
    station_.drop_sound("POND_20260101_050000.wav", 6.0, 2);
    station_.drop("POND_20260101_050000.Table.1.selections.txt",
                  std::string(kRavenHeader) + "1\t2\t0.5\t1.75\tBOAALB;PHYCUV\n2\t1\t3\t9.5\tBoana nova\n");
    const auto report = station_.import();
    EXPECT_THAT(report.rejected, IsEmpty());
    EXPECT_THAT(station_.labels(),
                ElementsAre(row("POND_20260101_050000.wav,0.5,1.75,BOAALB;PHYCUV,1", "POND_20260101"),
                            row("POND_20260101_050000.wav,3,6,Boana_nova,0", "POND_20260101")));
    EXPECT_THAT(report.new_classes, ElementsAre("BOAALB", "Boana_nova", "PHYCUV"));
    EXPECT_THAT(station_.files("labels"), ElementsAre("done/POND_20260101_050000.Table.1.selections.txt"));
    EXPECT_EQ(report.imported.at(0).format, "raven");
    EXPECT_EQ(report.imported.at(0).labels, 2U);
}

TEST_F(LabelImport, TakesRavenTablesOverSeveralFiles) {
    station_.drop_sound("a.wav");
    station_.drop_sound("b.wav");
    station_.drop("night.selections.txt",
                  "Begin Time (s)\tEnd Time (s)\tFile Offset (s)\tBegin File\tSpecies\n"
                  "1\t2\t1\ta.wav\tBOAALB\n4\t5\t1\tb.wav\tPHYCUV\n");
    station_.import();
    EXPECT_THAT(station_.labels(), ElementsAre(row("a.wav,1,2,BOAALB,", "a"), row("b.wav,1,2,PHYCUV,", "b")));
}

TEST_F(LabelImport, TakesAudacityTracks) {
    station_.drop_sound("SITE/pond.wav");
    station_.drop("SITE/pond.txt", "0.5\t1.25\tBOAALB\n\\\t200\t900\n2\t2.5\tPHYCUV_H\n");
    station_.drop_sound("lake.wav");
    station_.drop("lake.txt", "");
    EXPECT_EQ(station_.import().imported.at(0).format, "audacity");
    EXPECT_THAT(station_.labels(), ElementsAre(row("lake.wav,,,,", "lake"), row("pond.wav,0.5,1.25,BOAALB,", "pond"),
                                               row("pond.wav,2,2.5,PHYCUV_H,", "pond")));
}

TEST_F(LabelImport, TakesAnuraSetsStrongLabels) {
    station_.drop_sound("INCT4_20200101_010000.wav");
    station_.drop("INCT4_20200101_010000.txt", "0\t1.5\tBOAALB_M\n2\t3\tPHYCUV_H\n");
    EXPECT_EQ(station_.import().imported.at(0).format, "anuraset-strong");
    EXPECT_THAT(station_.labels(), ElementsAre(row("INCT4_20200101_010000.wav,0,1.5,BOAALB,", "INCT4_20200101"),
                                               row("INCT4_20200101_010000.wav,2,3,PHYCUV,", "INCT4_20200101")));
}

TEST_F(LabelImport, TakesAnuraSetsRows) {
    station_.drop_sound("INCT4/INCT4_20200101_010000_0_3.wav");
    station_.drop_sound("INCT4/INCT4_20200101_010000_1_4.wav");
    station_.drop("metadata.csv",
                  "fname,min_t,max_t,subset,BOAALB,PHYCUV\n"
                  "INCT4_20200101_010000,0,3,test,1,1\nINCT4_20200101_010000,1,4,test,0,0\n");
    EXPECT_EQ(station_.import().imported.at(0).format, "anuraset");
    EXPECT_THAT(station_.labels(), ElementsAre("INCT4_20200101_010000_0_3.wav,,,BOAALB;PHYCUV,,test,INCT4_20200101",
                                               "INCT4_20200101_010000_1_4.wav,,,,,test,INCT4_20200101"));
}

TEST_F(LabelImport, KeepsTheWindowsOfOneAnuraSetRecordingTogether) {
    station_.drop_sound("POND_7_0_3.wav");
    station_.drop_sound("POND_7_1_4.wav");
    station_.drop("metadata.csv", "fname,min_t,max_t,subset,A\nPOND_7,0,3,test,1\nPOND_7,1,4,train,1\n");
    EXPECT_THAT(station_.import().rejected, IsEmpty());
    EXPECT_THAT(station_.labels(),
                ElementsAre(row("POND_7_0_3.wav,,,A,", "POND_7"), row("POND_7_1_4.wav,,,A,", "POND_7")))
        << "of one subset, by a hash, where the rows disagree";
}

TEST_F(LabelImport, TakesRowsAboutTheClipsOfTheDaemon) {
    const std::string clip = "event/BOAALB/pond-7_20261123_021407Z_gate_0_4711";
    station_.add_sound("clips/" + clip + ".flac", 5.0);
    station_.add_sound("clips/random/pond-7_20261123_051407Z_gate_0_9911.flac");
    station_.drop("heard.csv", "file,start_s,end_s,codes\n" + clip +
                                   ".flac,0,3,BOAALB\npond-7_20261123_051407Z_gate_0_9911.flac,,,\n");
    const auto report = station_.import();
    EXPECT_THAT(report.rejected, IsEmpty());
    EXPECT_THAT(station_.labels(),
                ElementsAre(row("pond-7_20261123_021407Z_gate_0_4711.flac,0,3,BOAALB,", "pond-7_20261123"),
                            row("pond-7_20261123_051407Z_gate_0_9911.flac,,,,", "pond-7_20261123")));
    EXPECT_THAT(station_.files("clips"), SizeIs(2)) << "clips go with their own retention";
}

TEST_F(LabelImport, GivesWhatATrainingReads) {
    station_.drop_sound("POND_20260101_050000.wav", 5.0);
    station_.drop_sound("LAKE_20260102_050000.wav", 3.0);
    station_.drop("POND_20260101_050000.txt", "0.5\t1.5\tBOAALB\n");
    station_.drop("rows.csv", "file,start_s,end_s,codes\nLAKE_20260102_050000.wav,,,\n");
    station_.import();
    const auto dataset = read_dataset(station_.folders().dataset(), {.strict = true}, 3.0);
    EXPECT_THAT(dataset.classes, ElementsAre("BOAALB"));
    ASSERT_THAT(dataset.clips, SizeIs(4));
    std::map<std::string, int> positives;
    for (const auto& clip : dataset.clips) positives[clip.recording] += clip.targets[0];
    EXPECT_EQ(positives, (std::map<std::string, int>{{"LAKE_20260102", 0}, {"POND_20260101", 2}}));
}

TEST_F(LabelImport, KeepsTheSameSoundOnce) {
    station_.add_sound("labels/inbox/a.wav", 3.0, 1, "same");
    station_.add_sound("labels/inbox/b.wav", 3.0, 1, "same");
    station_.add_sound("labels/inbox/OTHER/a.wav", 3.0, 1, "other");
    station_.drop("rows.csv", "file,start_s,end_s,codes\na.wav,0,1,A\nb.wav,1,2,B\n");
    station_.drop("OTHER/rows.csv", "file,start_s,end_s,codes\na.wav,0,1,C\n");
    EXPECT_THAT(station_.import().rejected, IsEmpty());
    EXPECT_THAT(station_.files("dataset/audio"), ElementsAre(EndsWith("/a.wav"), EndsWith("/a.wav")));
    EXPECT_THAT(station_.labels(),
                ElementsAre(row("a.wav,0,1,A,", "a"), row("a.wav,0,1,C,", "a"), row("a.wav,1,2,B,", "a")));
    EXPECT_THAT(station_.files("labels"), ElementsAre("done/2/rows.csv", "done/rows.csv"));
}

TEST_F(LabelImport, ChangesNothingWhenAFileComesAgain) {
    const std::string table = std::string(kRavenHeader) + "1\t1\t0.5\t1.75\tBOAALB\n";
    const std::string rows = "file,start_s,end_s,codes\nb.wav,0,3,\nb.wav,1,2,PHYCUV\n";
    const auto drop_all = [&] {
        station_.drop_sound("a.wav");
        station_.drop_sound("b.wav");
        station_.drop("a.txt", table);
        station_.drop("rows.csv", rows);
    };
    drop_all();
    station_.import();
    const auto history = text_of(station_ / "dataset/history.jsonl");
    const auto labels = station_.labels();
    drop_all();
    const auto report = station_.import();
    ASSERT_THAT(report.imported, SizeIs(2));
    EXPECT_FALSE(report.imported[0].is_news || report.imported[1].is_news);
    EXPECT_EQ(text_of(station_ / "dataset/history.jsonl"), history);
    EXPECT_EQ(station_.labels(), labels);
    EXPECT_THAT(station_.files("labels/inbox"), IsEmpty());
}

TEST_F(LabelImport, TakesAFileThatIsTheSameAsTheLastButForItsSound) {
    for (const std::string site : {"A/", "B/"}) {
        station_.drop_sound(site + "20260101_050000.wav");
        station_.drop(site + "20260101_050000.txt", "");
        const auto report = station_.import();
        ASSERT_THAT(report.imported, SizeIs(1));
        EXPECT_TRUE(report.imported[0].is_news) << site;
        EXPECT_THAT(station_.files("labels/inbox"), IsEmpty()) << site;
    }
    EXPECT_THAT(station_.labels(), SizeIs(2));
}

TEST_F(LabelImport, NeverMovesASessionToTheOtherSubset) {
    station_.drop_sound("POND_20260101_050000.wav");
    station_.drop_sound("POND_20260101_060000.wav");
    station_.drop_sound("POND_20260101_070000.wav");
    station_.drop_sound("LAKE_20260101_070000.wav");
    station_.drop("1.csv", "file,start_s,end_s,codes,subset\nPOND_20260101_050000.wav,0,3,A,test\n");
    station_.drop("2.csv", "file,start_s,end_s,codes,subset\nPOND_20260101_060000.wav,0,3,A,train\n");
    station_.drop("POND_20260101_070000.txt", "0\t1\tA\n");
    station_.drop("3.csv",
                  "file,start_s,end_s,codes,subset,recording\nLAKE_20260101_070000.wav,0,3,A,train,lake at dawn\n");
    station_.import();
    EXPECT_THAT(station_.labels(), ElementsAre("LAKE_20260101_070000.wav,0,3,A,,train,lake at dawn",
                                               "POND_20260101_050000.wav,0,3,A,,test,POND_20260101",
                                               "POND_20260101_060000.wav,0,3,A,,test,POND_20260101",
                                               "POND_20260101_070000.wav,0,1,A,,test,POND_20260101"));
}

TEST_F(LabelImport, RejectsAFileWithEveryLineThatIsWrongAndTakesNothingFromIt) {
    station_.drop_sound("pond.wav");
    station_.drop("pond.txt", "0\t1\tBOAALB\nbroken\n2\t1\tPHYCUV\n");
    const auto report = station_.import();
    ASSERT_THAT(report.rejected, SizeIs(1));
    EXPECT_EQ(text_of(station_ / "labels/rejected/pond.txt.reason.txt"),
              "pond.txt:2: 1 fields, not start, end and label\n"
              "pond.txt:3: ends at 1 s, before or where it begins, at 2 s\n");
    EXPECT_THAT(report.rejected[0].reasons, SizeIs(2));
    EXPECT_THAT(station_.files("labels"),
                ElementsAre("inbox/pond.wav", "rejected/pond.txt", "rejected/pond.txt.reason.txt"));
    EXPECT_THAT(station_.files("dataset"), IsEmpty());

    fs::remove(station_ / "labels/rejected/pond.txt");
    station_.drop("pond.txt", "0\t1\tBOAALB\n");
    EXPECT_THAT(station_.import().imported, SizeIs(1));
    EXPECT_THAT(station_.files("labels"), ElementsAre("done/pond.txt")) << "mended";
}

TEST_F(LabelImport, SaysWhatTheSoundDoesNotBearOut) {
    station_.drop_sound("pond.wav", 3.0, 2);
    write_text(station_ / "labels/inbox/noise.wav", "no sound");
    station_.drop("a.csv",
                  "file,start_s,end_s,codes,channel\npond.wav,5,6,A,\npond.wav,0,1,A,2\npond.wav,0,1,A?,\n"
                  "../../pond.wav,0,1,A,\n");
    station_.drop("b.csv", "file,start_s,end_s,codes\nnoise.wav,0,1,A\n");
    station_.drop("c.csv", "sound,codes\n");
    station_.drop("d.csv", "");
    station_.drop("e.doc", "A");
    station_.drop("f.csv", "fname,min_t,max_t,subset,A\nX_1,0,3,train,1\nX_1,0,4,train,1\n");
    const auto report = station_.import();
    std::vector<std::string> reasons;
    for (const auto& file : report.rejected)
        for (const auto& reason : file.reasons) reasons.push_back(reason);
    EXPECT_THAT(
        reasons,
        ElementsAre("a.csv:2: begins at 5 s, the recording ends at 3.00 s", "a.csv:3: names channel 2 (from 0) of 2",
                    StartsWith("a.csv:4: label 'A?' is no"), "a.csv:5: '../../pond.wav' leads out of the data set",
                    StartsWith("b.csv:2: noise.wav: cannot be read as sound"), "c.csv: no column 'file'",
                    "d.csv: is empty", "e.doc: is neither .txt nor .csv", "f.csv:3: lasts 4 s, a window 3 s"));
}

TEST_F(LabelImport, TakesNothingThatIsNoText) {
    station_.drop_sound("pond.wav");
    station_.drop_sound("\xff/lake.wav");
    station_.drop("a.csv", "file,start_s,end_s,codes,recording\npond.wav,,,A,\xff\n");
    station_.drop("b\n.csv", "file,start_s,end_s,codes\npond.wav,,,A\n");
    station_.drop("c.csv", "file,start_s,end_s,codes\nlake.wav,,,A\n");
    std::vector<std::string> reasons;
    for (const auto& file : station_.import().rejected) reasons.push_back(file.reasons.front());
    EXPECT_THAT(reasons, ElementsAre("a.csv:2: recording isn't UTF-8 or holds control characters",
                                     "its name isn't UTF-8 or holds control characters",
                                     "c.csv:2: its recording's path isn't UTF-8 or holds control characters"));
}

TEST_F(LabelImport, KeepsEveryFileThatWasDroppedUnderOneName) {
    for (const auto* text : {"broken 1", "broken 2", "broken 3"}) {
        station_.drop("pond.txt", text);
        station_.import();
    }
    EXPECT_EQ(text_of(station_ / "labels/rejected/pond.txt"), "broken 1");
    EXPECT_EQ(text_of(station_ / "labels/rejected/2/pond.txt"), "broken 2");
    EXPECT_EQ(text_of(station_ / "labels/rejected/3/pond.txt"), "broken 3");
    EXPECT_NE(text_of(station_ / "labels/rejected/3/pond.txt.reason.txt"), "");
}

TEST_F(LabelImport, WaitsForSoundThatIsNotThereYet) {
    station_.drop("pond.txt", "0\t1\tBOAALB\n");
    ImportOptions patient{.test_share = 0.2, .settling = std::chrono::seconds(0), .patience = std::chrono::hours(1)};
    const auto report = station_.import(patient);
    ASSERT_THAT(report.waiting, SizeIs(1));
    EXPECT_THAT(report.waiting[0].reasons, ElementsAre(StartsWith("pond.txt: no recording 'pond' beside it")));
    EXPECT_THAT(station_.files("labels"), ElementsAre("inbox/pond.txt"));
    EXPECT_THAT(station_.import().rejected, SizeIs(1)) << "for no longer than its patience";

    station_.drop("pond.txt", "0\t1\tBOAALB\n");
    station_.drop_sound("pond.wav");
    EXPECT_THAT(station_.import(patient).imported, SizeIs(1));
}

TEST_F(LabelImport, LeavesFilesThatAreBeingWrittenForTheNextRun) {
    ImportOptions options;
    station_.drop_sound("pond.wav");
    station_.drop("pond.txt", "0\t1\tBOAALB\n");
    write_text(station_ / "labels/inbox/lake.txt", "0\t1\tBOA");
    write_text(station_ / "labels/inbox/.hidden.txt", "broken");
    auto report = station_.import(options);
    ASSERT_THAT(report.waiting, SizeIs(2));
    EXPECT_THAT(report.waiting[0].reasons, ElementsAre("pond.wav changed less than 10 s ago"));
    EXPECT_EQ(report.waiting[1].file, "lake.txt");
    fs::last_write_time(station_ / "labels/inbox/pond.wav", fs::file_time_type::clock::now() - std::chrono::hours(1));
    report = station_.import(options);
    EXPECT_THAT(report.imported, SizeIs(1));
    EXPECT_THAT(report.waiting, SizeIs(1));
    EXPECT_THAT(station_.files("labels"), ElementsAre("done/pond.txt", "inbox/.hidden.txt", "inbox/lake.txt"));
}

TEST_F(LabelImport, TakesALaterFileAsTheLaterWord) {
    station_.drop_sound("pond.wav");
    station_.drop("z.csv", "file,start_s,end_s,codes\npond.wav,0,3,A\n");
    station_.drop("a.csv", "file,start_s,end_s,codes\npond.wav,0,3,B\n");
    station_.import();
    EXPECT_THAT(station_.labels(), ElementsAre(row("pond.wav,0,3,B,", "pond")));
}

TEST_F(LabelImport, RefusesWhatItWouldOverwrite) {
    write_text(station_ / "dataset/labels.csv", "file,start_s,end_s,codes\n");
    EXPECT_THAT([&] { station_.import(); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("labels.csv: was not made by import")));
    EXPECT_THAT([] { import_labels({.station = "/nonexistent"}, {}); },
                testing::ThrowsMessage<std::runtime_error>("/nonexistent: is no folder"));
}

TEST_F(LabelImport, TellsAProgramWhatItDid) {
    station_.drop_sound("pond.wav");
    station_.drop("pond.txt", "0\t1\tBOAALB\n");
    station_.drop("lake.txt", "broken");
    const auto report = to_json(station_.import());
    EXPECT_EQ(report["imported"][0]["file"], "pond.txt");
    EXPECT_EQ(report["rejected"][0]["reasons"][0], "lake.txt:1: 1 fields, not start, end and label");
    EXPECT_EQ(report["new_classes"], nlohmann::json({"BOAALB"}));
    EXPECT_EQ(report["recordings"], 1);
}

}  // namespace
}  // namespace chorus
