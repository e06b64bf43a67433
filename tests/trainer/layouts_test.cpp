#include "trainer/layouts.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <set>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

auto fails_with(const std::string& text) {
    return testing::ThrowsMessage<std::runtime_error>(HasSubstr(text));
}

class Layouts : public testing::Test {
  protected:
    void add_sound(const std::string& name, double seconds, int channels = 1) {
        const std::vector<float> samples(static_cast<std::size_t>(seconds * 8000) * static_cast<std::size_t>(channels));
        write_wav(folder_ / name, samples, 8000, channels);
    }

    Dataset read(const DataOptions& options = {}) { return read_dataset(folder_.path(), options, 3.0); }

    /// "recording offset [channel] labels" of each clip.
    static std::vector<std::string> clips_of(const Dataset& dataset) {
        std::vector<std::string> lines;
        for (const auto& clip : dataset.clips) {
            auto line = fmt::format("{} {}", clip.recording, clip.offset_seconds.value_or(-1.0));
            if (clip.channel) line += fmt::format(" channel {}", *clip.channel);
            for (std::size_t c = 0; c < clip.targets.size(); ++c)
                if (clip.targets[c] != 0) line += ' ' + dataset.classes[c];
            lines.push_back(line);
        }
        return lines;
    }

    std::vector<std::string> left_out_of(const Dataset& dataset) const {
        std::vector<std::string> lines;
        const auto prefix = folder_.path().string() + '/';
        for (const auto& [item, reason] : dataset.left_out)
            lines.push_back((item.starts_with(prefix) ? item.substr(prefix.size()) : item) + ": " + reason);
        return lines;
    }

    TemporaryFolder folder_;
    static constexpr auto kRavenHeader = "Selection\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n";
};

TEST_F(Layouts, CutsMinutesWithAnuraSetsStrongLabels) {
    add_sound("raw_data/INCT4/INCT4_20200101_010000.wav", 6.0, 2);
    add_sound("raw_data/INCT4/INCT4_20200101_020000.wav", 5.0, 2);
    add_sound("raw_data/INCT4/INCT4_20200101_030000.wav", 5.0, 2);
    add_sound("audio/INCT4/INCT4_20200101_010000_0_3.wav", 3.0);
    write_text(folder_ / "metadata.csv", "fname,min_t,max_t,subset,A\nINCT4_20200101_010000,0,3,test,1\n");
    write_text(folder_ / "strong_labels/INCT4/INCT4_20200101_010000.txt", "0\t1.5\tBOAALB_M\n4\t6\tPHYCUV_H\nbroken\n");
    write_text(folder_ / "strong_labels/INCT4/INCT4_20200101_020000.txt", "");
    write_text(folder_ / "strong_labels/INCT4/INCT4_20200101_090000.txt", "0\t1\tBOAALB_L\n");
    const auto dataset = read({.layout = Layout::kAnuraSetStrong, .test_share = 0.0});
    EXPECT_THAT(dataset.classes, ElementsAre("BOAALB", "PHYCUV"));
    EXPECT_THAT(clips_of(dataset),
                ElementsAre("INCT4_20200101_010000 0 BOAALB", "INCT4_20200101_010000 1 BOAALB",
                            "INCT4_20200101_010000 2 PHYCUV", "INCT4_20200101_010000 3 PHYCUV",
                            "INCT4_20200101_020000 0", "INCT4_20200101_020000 1", "INCT4_20200101_020000 2"));
    EXPECT_EQ(dataset.clips.front().subset, Subset::kTest);
    EXPECT_EQ(dataset.clips.back().subset, Subset::kTrain);
    ASSERT_EQ(dataset.labelled_channels.size(), 2U);
    EXPECT_EQ(dataset.labelled_channels[0].seconds, 6.0);
    ASSERT_EQ(dataset.labelled_channels[0].calls.size(), 2U);
    EXPECT_EQ(dataset.labelled_channels[0].calls[1].start_seconds, 4.0);
    EXPECT_EQ(dataset.labelled_channels[0].calls[1].class_index, 1U);
    EXPECT_TRUE(dataset.labelled_channels[1].calls.empty()) << "but known to be";
    EXPECT_THAT(
        left_out_of(dataset),
        UnorderedElementsAre("strong_labels/INCT4/INCT4_20200101_010000.txt:3: 1 fields, not start, end and label",
                             "strong_labels/INCT4/INCT4_20200101_090000.txt: no recording 'INCT4_20200101_090000'",
                             "raw_data/INCT4/INCT4_20200101_030000.wav: no label file is about it"));
    EXPECT_EQ(read().clips.size(), 0U + 1U) << "with metadata.csv and audio/, clips go before minutes";
}

TEST_F(Layouts, ReadsRavenTablesAndLabelTracksBesideTheirRecordings) {
    add_sound("north/POND_20260101_050000.wav", 4.0);
    add_sound("south/POND_20260101_050000.wav", 4.0);
    add_sound("south/quiet.flac", 4.0);
    add_sound("song.wav", 4.0);
    write_text(folder_ / "north/POND_20260101_050000.Table.1.selections.txt",
               std::string(kRavenHeader) + "1\t1\t0\t0.5\tBOAALB\n");
    write_text(
        folder_ / "north/POND_20260101_050000.Table.2.selections.txt",
        std::string(kRavenHeader) + "1\t1\t3.2\t3.9\tPhysalaemus cuvieri\n2\t1\t9\t10\tBOAALB\n3\t1\t1\t2\tWhat?\n");
    write_text(folder_ / "south/POND_20260101_050000.selections.txt", kRavenHeader);
    write_text(folder_ / "song.txt", "0\t4\tHyla sp\n");
    write_text(folder_ / "notes.txt", "nothing to do with it\n");
    write_text(folder_ / "species.csv", "code,name,group\nPHYCUV,Physalaemus cuvieri,\n");
    const auto dataset = read();
    EXPECT_THAT(dataset.classes, ElementsAre("BOAALB", "Hyla_sp", "PHYCUV"));
    EXPECT_THAT(clips_of(dataset),
                ElementsAre("POND_20260101_050000 0 BOAALB", "POND_20260101_050000 1 PHYCUV", "song 0 Hyla_sp",
                            "song 1 Hyla_sp", "POND_20260101_050000 0", "POND_20260101_050000 1"));
    EXPECT_THAT(left_out_of(dataset),
                UnorderedElementsAre(
                    "notes.txt: no recording 'notes'", "south/quiet.flac: no label file is about it",
                    "north/POND_20260101_050000.Table.1.selections.txt:3: begins at 9 s, the recording ends at 4.00 s",
                    HasSubstr("label 'What?' is no class code")));
}

TEST_F(Layouts, CutsTheChannelsThatAnnotationsName) {
    add_sound("array.wav", 3.0, 4);
    write_text(folder_ / "array.txt",
               std::string(kRavenHeader) + "1\t2\t0\t1\tAAA\n2\t4\t0\t1\tBBB\n3\t\t1\t2\tCCC\n4\t5\t1\t2\tAAA\n");
    const auto dataset = read();
    EXPECT_THAT(clips_of(dataset), ElementsAre("array 0 channel 1 AAA CCC", "array 0 channel 3 BBB CCC"));
    EXPECT_THAT(left_out_of(dataset), ElementsAre("array.txt:5: names channel 4 (from 0) of 4"));
}

TEST_F(Layouts, ReadsATableOverSeveralFiles) {
    add_sound("a.wav", 3.0);
    add_sound("b.wav", 3.0);
    write_text(folder_ / "all.txt",
               "Begin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\n"
               "1\t2\ta.wav\t1\tAAA\n3.5\t4\tb.wav\t0.5\tBBB\n3.5\t4\tc.wav\t0.5\tBBB\n");
    const auto dataset = read();
    EXPECT_THAT(clips_of(dataset), ElementsAre("a 0 AAA", "b 0 BBB"));
    EXPECT_THAT(left_out_of(dataset), ElementsAre("all.txt:4: no recording 'c'"));
}

TEST_F(Layouts, ReadsEsc50) {
    add_sound("audio/1-100032-A-0.wav", 5.0);
    add_sound("audio/5-9032-A-0.wav", 5.0);
    write_text(folder_ / "meta/esc50.csv",
               "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
               "5-9032-A-0.wav,5,9,crow,False,9032,A\n5-9032-B-0.wav,5,9,crow,False,9032,B\n");
    const auto dataset = read();
    EXPECT_THAT(dataset.classes, ElementsAre("crow", "dog"));
    EXPECT_THAT(clips_of(dataset), ElementsAre("100032 0 dog", "100032 1 dog", "100032 2 dog", "9032 0 crow",
                                               "9032 1 crow", "9032 2 crow"));
    EXPECT_EQ(dataset.clips.front().subset, Subset::kTrain);
    EXPECT_EQ(dataset.clips.back().subset, Subset::kTest);
    EXPECT_THAT(left_out_of(dataset), ElementsAre("meta/esc50.csv:4: no recording '5-9032-B-0.wav'"));
    EXPECT_TRUE(dataset.labelled_channels.empty()) << "labelled as a whole";
}

TEST_F(Layouts, ReadsAPlainCsvOfWhateverName) {
    add_sound("sounds/a.wav", 4.0);
    add_sound("sounds/b.wav", 3.0);
    add_sound("sounds/short.wav", 1.0);
    write_text(folder_ / "sounds/broken.wav", "no sound");
    write_text(
        folder_ / "mine.csv",
        "file,start_s,end_s,codes,subset\nsounds/a.wav,0,0.7,AAA;BBB,test\nb.wav,,,AAA,\nsounds/short.wav,,,AAA,\n"
        "sounds/broken.wav,,,AAA,\n../c.wav,,,AAA,\nsounds/a.wav,1,2,AAA,train\n");
    const auto dataset = read_dataset(folder_ / "mine.csv", {.test_share = 0.0}, 3.0);
    EXPECT_THAT(clips_of(dataset), ElementsAre("a 0 AAA BBB", "a 1", "b 0 AAA"));
    EXPECT_EQ(dataset.clips[0].subset, Subset::kTest);
    EXPECT_EQ(dataset.clips[2].subset, Subset::kTrain);
    EXPECT_THAT(left_out_of(dataset),
                UnorderedElementsAre("mine.csv:6: '../c.wav' leads out of the data set",
                                     "mine.csv:7: says another subset than the recording's first line",
                                     HasSubstr("sounds/broken.wav: cannot be read as sound"),
                                     "sounds/short.wav: lasts only 1.00 s, a window 3 s"));
    std::filesystem::rename(folder_ / "mine.csv", folder_ / "labels.csv");
    EXPECT_EQ(read().clips.size(), 3U);
}

TEST_F(Layouts, TakesSilenceOfTheLabelsForAbsenceUnlessTold) {
    add_sound("a.wav", 12.0);
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\na.wav,0,3,AAA\na.wav,6,9,\n");
    const DataOptions whole{.window_hop_seconds = 3.0};
    EXPECT_THAT(clips_of(read(whole)), ElementsAre("a 0 AAA", "a 3", "a 6", "a 9"));
    const DataOptions sparse{.window_hop_seconds = 3.0, .unlabelled_is_absence = false};
    EXPECT_THAT(clips_of(read(sparse)), ElementsAre("a 0 AAA", "a 6"));
}

TEST_F(Layouts, FailsOnAnythingLeftOutWhenStrict) {
    add_sound("a.wav", 3.0);
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\na.wav,0,3,AAA\nb.wav,0,3,AAA\n");
    EXPECT_EQ(read().left_out.size(), 1U);
    EXPECT_THAT([&] { read({.strict = true}); }, fails_with("labels.csv:3: no recording 'b.wav' (strict: 1 in all"));
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\na.wav,0,3,AAA\n");
    EXPECT_EQ(read({.strict = true}).clips.size(), 1U);
}

TEST_F(Layouts, PutsAShareOfTheRecordingsAsideForTheTest) {
    std::string labels = "file,start_s,end_s,codes\n";
    for (int i = 0; i < 60; ++i) {
        add_sound(fmt::format("r{}.wav", i), 4.0);
        labels += fmt::format("r{}.wav,,,AAA\n", i);
    }
    write_text(folder_ / "labels.csv", labels);
    const auto tested = [&](double share) {
        std::set<std::string> recordings;
        for (const auto& clip : read({.test_share = share}).clips)
            if (clip.subset == Subset::kTest) recordings.insert(clip.recording);
        return recordings;
    };
    EXPECT_THAT(tested(0.0), IsEmpty());
    const auto fifth = tested(0.2);
    EXPECT_THAT(fifth.size(), AllOf(testing::Ge(5U), testing::Le(20U)));
    const auto half = tested(0.5);
    EXPECT_TRUE(std::includes(half.begin(), half.end(), fifth.begin(), fifth.end())) << "none ever moves back";
}

TEST_F(Layouts, HashesWhatDecidesTheClipsAlone) {
    add_sound("a.wav", 4.0);
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\na.wav,0,3,AAA\n");
    const auto first = read().manifest_hash;
    EXPECT_EQ(first.size(), 64U);
    write_text(folder_ / "labels.csv", "codes,file,start_s,end_s\nAAA,a.wav,0,3\n");
    EXPECT_EQ(read().manifest_hash, first);
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\na.wav,0,0.7,AAA\n");
    EXPECT_NE(read().manifest_hash, first);
}

TEST_F(Layouts, SaysInOneLineWhatIsNotThere) {
    EXPECT_THAT([] { read_dataset("/nonexistent", {}, 3.0); }, fails_with("/nonexistent: does not exist"));
    EXPECT_THAT([&] { read(); }, fails_with("metadata.csv: No such file"));
    write_text(folder_ / "labels.csv", "file,start_s,end_s,codes\nx.wav,0,3,AAA\n");
    EXPECT_THAT([&] { read(); }, fails_with("no labelled recording can be used; the first: "));
    EXPECT_THAT([&] { read({.layout = Layout::kEsc50}); }, fails_with("meta/esc50.csv: No such file"));
}

}  // namespace
}  // namespace chorus
