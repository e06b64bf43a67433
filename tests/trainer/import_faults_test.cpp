// An import that is killed, has no room on the disk, or meets another: nothing is lost, doubled or half done.

#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "tests/end_to_end/small_disk.h"
#include "tests/kill_points.h"
#include "tests/trainer/station_folder.h"
#include "trainer/audio_shelf.h"
#include "trainer/durable_file.h"
#include "trainer/run_lock.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

auto fails_with(const std::string& text) {
    return testing::ThrowsMessage<std::runtime_error>(HasSubstr(text));
}

void replace_text(const fs::path& path, std::string_view text) {
    replace_file(path, std::as_bytes(std::span(text)));
}

/// Of every format, of sound beside them and in the clips, with a word that replaces another and one that is rejected.
void fill(StationFolder& station) {
    station.add_sound("clips/event/A/pond_20260101_050000Z_gate_0_1.flac", 1.0);
    station.drop("1.csv", "file,start_s,end_s,codes\npond_20260101_050000Z_gate_0_1.flac,,,A\n");
    station.import();
    station.drop_sound("LAKE_20260102_050000.wav", 1.0);
    station.drop_sound("POND_20260103_050000_0_3.wav", 3.0);
    station.drop_sound("lost.wav", 1.0);
    station.drop("LAKE_20260102_050000.selections.txt", "Begin Time (s)\tEnd Time (s)\tSpecies\n0\t0.5\tB\n");
    station.drop("metadata.csv", "fname,min_t,max_t,subset,C,D\nPOND_20260103_050000,0,3,test,1,0\n");
    station.drop("2.csv", "file,start_s,end_s,codes\npond_20260101_050000Z_gate_0_1.flac,0,1,E\n");
    station.drop("lost.txt", "broken\n");
    station.drop("LAKE_20260102_050000.txt", "0.25\t0.75\tF_H\n");
}

TEST(KilledImport, IsAsIfItHadNotBeenAfterTheNextRun) {
    StationFolder whole;
    fill(whole);
    whole.import();
    const auto expected = whole.contents();
    ASSERT_THAT(whole.files("labels/inbox"), ElementsAre("lost.wav"));
    ASSERT_THAT(whole.labels(), SizeIs(4));

    int steps = 0;
    for (bool killed = true; killed; ++steps) {
        StationFolder station;
        fill(station);
        try {
            killed = killed_at_step(steps, [&] { station.import(); });
        } catch (const std::runtime_error& error) {
            if (steps == 0) GTEST_SKIP() << error.what();
            throw;
        }
        station.import();
        ASSERT_EQ(station.contents(), expected) << "killed at step " << steps;
    }
    RecordProperty("kill_points", steps - 1);
    EXPECT_GT(steps, 20);
}

TEST(KilledImport, KeepsTheOrderOfWordsWhenOneMoreComes) {
    // Killed between what it wrote down and moving the file away: what comes next is the later word all the same.
    StationFolder station;
    station.drop_sound("pond.wav", 1.0);
    station.drop("1.csv", "file,start_s,end_s,codes\npond.wav,0,1,A\n");
    station.import();
    fs::rename(station / "labels/done/1.csv", station / "labels/inbox/1.csv");
    fs::last_write_time(station / "labels/inbox/1.csv", fs::file_time_type::clock::now());
    station.drop("2.csv", "file,start_s,end_s,codes\npond.wav,0,1,B\n");
    station.import();
    EXPECT_THAT(station.labels(), ElementsAre(testing::StartsWith("pond.wav,0,1,B,")));
}

TEST(FullDisk, StopsAnImportWithNothingHalfDoneUntilThereIsRoom) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "may not mount";
    StationFolder elsewhere;  // from where sound can't be linked
    elsewhere.add_sound("pond.wav", 60.0);
    StationFolder station(disk->folder());
    fs::create_directories(station / "labels/inbox");
    fs::create_symlink(elsewhere / "pond.wav", station / "labels/inbox/pond.wav");
    station.drop_sound("lake.wav");
    station.drop("lake.txt", "0\t1\tA\n");
    station.drop("pond.txt", "0\t1\tB\n");
    station.drop("gone.txt", "broken\n");
    disk->fill();
    EXPECT_THAT([&] { station.import(); }, fails_with("No space left on device"));
    EXPECT_THAT(station.files("labels/done"), IsEmpty());

    // Room for one label file, not for the sound of the other.
    disk->make_room();
    write_text(station / "ballast", std::string(fs::space(disk->folder()).available - 300'000, 'x'));
    EXPECT_THAT([&] { station.import(); }, AllOf(fails_with("pond.wav"), fails_with("No space left on device")));
    EXPECT_THAT(station.files("labels/done"), ElementsAre("lake.txt"));

    disk->make_room();
    const auto report = station.import();
    EXPECT_THAT(report.imported, SizeIs(1));
    EXPECT_THAT(report.rejected, SizeIs(1));
    EXPECT_THAT(station.labels(), SizeIs(2));
    EXPECT_THAT(station.files("labels/inbox"), IsEmpty());
    EXPECT_THAT(station.files("dataset/audio"), SizeIs(2));
}

TEST(ReadOnlyDisk, IsSaidInOneLine) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "may not mount";
    StationFolder station(disk->folder());
    station.drop_sound("lake.wav");
    station.drop("lake.txt", "0\t1\tA\n");
    station.import({.settling = std::chrono::hours(1000)});
    disk->set_read_only(true);
    EXPECT_THAT([&] { station.import(); }, fails_with("Read-only file system"));
    disk->set_read_only(false);
    EXPECT_THAT(station.import().imported, SizeIs(1));
}

TEST(ConcurrentImports, ComeOneAfterTheOther) {
    StationFolder whole;
    fill(whole);
    whole.import();
    StationFolder station;
    fill(station);
    std::vector<pid_t> processes;
    for (int i = 0; i < 4; ++i) {
        processes.push_back(fork());
        if (processes.back() != 0) continue;
        while (true) {
            try {
                station.import();
                _exit(0);
            } catch (const std::exception& error) {
                if (std::string(error.what()).find(", which still runs") == std::string::npos) _exit(1);
            }
        }
    }
    for (const auto process : processes) {
        int status = 0;
        ASSERT_EQ(waitpid(process, &status, 0), process);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    EXPECT_EQ(station.contents(), whole.contents());
}

TEST(RunLock, NamesItsHolderAndIsNeverStale) {
    const TemporaryFolder folder;
    const auto path = folder / "lock";
    {
        const RunLock lock(path);
        EXPECT_THAT([&] { const RunLock second(path); },
                    fails_with(path.string() + ": held by process " + std::to_string(getpid()) + ", which still runs"));
    }
    const pid_t child = fork();
    if (child == 0) {
        const RunLock lock(path);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, nullptr, 0);
    EXPECT_EQ(text_of(path), std::to_string(child) + '\n');
    EXPECT_NO_THROW(const RunLock lock(path));
    EXPECT_THAT([] { const RunLock lock("/nonexistent/lock"); }, fails_with("/nonexistent/lock: "));
}

TEST(DurableFile, IsReplacedWholeOrNotAtAll) {
    const TemporaryFolder folder;
    replace_text(folder / "file", "old");
    EXPECT_EQ(text_of(folder / "file"), "old");
    std::size_t wholes = 0;
    int steps = 0;
    try {
        for (; killed_at_step(steps, [&] { replace_text(folder / "file", "quite new"); }); ++steps) {
            const auto text = text_of(folder / "file");
            EXPECT_TRUE(text == "old" || text == "quite new") << text;
            wholes += text == "old" ? 1 : 0;
        }
    } catch (const std::runtime_error& error) {
        GTEST_SKIP() << error.what();
    }
    EXPECT_GE(wholes, 3U);
    EXPECT_EQ(text_of(folder / "file"), "quite new");
    EXPECT_THAT([] { replace_text("/nonexistent/file", "text"); }, fails_with("/nonexistent/file"));
}

TEST(DurableFile, TakesALineInThePlaceOfOneThatWasCutShort) {
    const TemporaryFolder folder;
    append_line(folder / "lines", "one");
    append_line(folder / "lines", "two");
    EXPECT_EQ(text_of(folder / "lines"), "one\ntwo\n");
    write_text(folder / "lines", "one\n" + std::string(10'000, 'x'));
    append_line(folder / "lines", "two");
    EXPECT_EQ(text_of(folder / "lines"), "one\ntwo\n");
    write_text(folder / "lines", std::string(5'000, 'x'));
    append_line(folder / "lines", "one");
    EXPECT_EQ(text_of(folder / "lines"), "one\n");
}

TEST(AudioShelf, MendsWhatACrashLeftHalfThere) {
    StationFolder station;
    station.add_sound("pond.wav");
    fs::create_directories(station / "dataset/audio");
    AudioShelf shelf(station / "dataset", station / "dataset/audio");
    const auto place = shelf.place_of(station / "pond.wav");
    write_text(station / "dataset" / place, "");
    EXPECT_EQ(shelf.place_of(station / "pond.wav"), place);
    shelf.put(station / "pond.wav", place);
    shelf.put(station / "pond.wav", place);
    EXPECT_EQ(text_of(station / "dataset" / place), text_of(station / "pond.wav"));
    EXPECT_THAT([&] { shelf.place_of(station / "gone.wav"); }, fails_with("gone.wav: No such file"));
}

TEST(AudioShelf, CopiesWhereItCannotLinkAsIfItHadNeverBeenKilled) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "may not mount";
    StationFolder elsewhere(disk->folder());
    elsewhere.add_sound("pond.wav", 30.0);
    StationFolder station;
    fs::create_directories(station / "dataset/audio");
    AudioShelf shelf(station / "dataset", station / "dataset/audio");
    const auto place = shelf.place_of(elsewhere / "pond.wav");
    int steps = 0;
    for (; killed_at_step(steps, [&] { shelf.put(elsewhere / "pond.wav", place); }); ++steps) {
        if (!fs::exists(station / "dataset" / place)) continue;
        EXPECT_EQ(text_of(station / "dataset" / place), text_of(elsewhere / "pond.wav")) << steps;
    }
    EXPECT_GE(steps, 5);
    EXPECT_THAT(station.files("dataset"), ElementsAre(place.string()));
    EXPECT_EQ(text_of(station / "dataset" / place), text_of(elsewhere / "pond.wav"));
}

}  // namespace
}  // namespace chorus
