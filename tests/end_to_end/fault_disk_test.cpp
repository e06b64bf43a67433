// Disks that fail and journals that are damaged.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>

#include "tests/end_to_end/small_disk.h"
#include "tests/end_to_end/station.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
namespace fs = std::filesystem;

// Sound goes on being analysed and events being found, whatever becomes of them.
void expect_detection_goes_on(Station& station) {
    const auto found = [](const Scrape& scrape) { return scrape.sum("chorus_events_total"); };
    const double before = found(station.last_scrape());
    EXPECT_TRUE(station.until("8 more events are found", [&](const Scrape& s) { return found(s) >= before + 8; }));
}

bool waits_for_the_journal(const Scrape& scrape) {
    return scrape.sum("chorus_journal_waiting") > 0 && scrape.sum("chorus_journal_errors_total") > 0;
}

class FaultOfTheDisk : public testing::Test {
  protected:
    // A station whose journal is on a disk of its own; false where there can be none.
    bool mount(SmallDisk::Kind kind) {
        try {
            disk_.emplace(kind, station_.folder() / "disk");
        } catch (const std::runtime_error& error) {
            reason_ = error.what();
            return false;
        }
        station_.move_journal(disk_->folder() / "journal.db");
        return true;
    }
    void TearDown() override {
        if (station_.is_running()) station_.kill();  // so that the disk can be unmounted
    }

    // Started on a disk that takes nothing, it goes on as if it took something, once it does.
    void expect_start_waits_for_the_disk(const std::function<void()>& break_disk, const std::function<void()>& mend) {
        std::int64_t last = 0;
        for (const bool first_start : {true, false}) {
            break_disk();
            station_.start();
            ASSERT_TRUE(station_.until("events wait for the journal", waits_for_the_journal));
            EXPECT_THAT(station_.health(), testing::StartsWith("HTTP/1.1 503 "));
            expect_detection_goes_on(station_);
            mend();
            ASSERT_TRUE(station_.until_events("steady", 8));
            EXPECT_THAT(station_.health(), testing::StartsWith("HTTP/1.1 200 "));
            EXPECT_EQ(station_.last_scrape().sum("chorus_events_dropped_total"), 0);
            station_.stop();
            expect_whole_journal(station_);
            if (first_start) last = station_.seen().rbegin()->first;
        }
        EXPECT_TRUE(station_.seen().contains(last + 1)) << "the numbers go on";
    }

    Station station_{kSteady};
    std::optional<SmallDisk> disk_;
    std::string reason_;
};

TEST_F(FaultOfTheDisk, AFullDiskDelaysEventsAndLosesNone) {
    if (!mount(SmallDisk::Kind::kMemory)) GTEST_SKIP() << "no small tmpfs to be had: " << reason_;
    station_.start();
    ASSERT_TRUE(station_.until_events("steady", 4));
    disk_->fill();
    ASSERT_TRUE(station_.until("events wait for the journal", waits_for_the_journal));
    EXPECT_THAT(station_.health(), testing::StartsWith("HTTP/1.1 503 "));
    expect_detection_goes_on(station_);
    const auto published = station_.seen().size();
    disk_->make_room();
    ASSERT_TRUE(station_.until("no event waits", [](const Scrape& s) { return s.sum("chorus_journal_waiting") == 0; }));
    EXPECT_TRUE(station_.until_events("steady", 8));
    EXPECT_GT(station_.seen().size(), published);
    EXPECT_EQ(station_.last_scrape().sum("chorus_events_dropped_total"), 0);
    EXPECT_THAT(station_.daemon().err(), HasSubstr(" error journal: "));
    station_.stop();
    expect_whole_journal(station_);
}

TEST_F(FaultOfTheDisk, ADiskThatTurnsReadOnlyHoldsUpEventsAndNothingElse) {
    if (!mount(SmallDisk::Kind::kExt4)) GTEST_SKIP() << "no small ext4 to be had: " << reason_;
    station_.start();
    ASSERT_TRUE(station_.until_events("steady", 4));
    try {
        disk_->turn_read_only();
    } catch (const std::runtime_error& error) {
        GTEST_SKIP() << error.what();
    }
    ASSERT_TRUE(station_.until("events wait for the journal", waits_for_the_journal));
    EXPECT_THAT(station_.health(), testing::StartsWith("HTTP/1.1 503 "));
    expect_detection_goes_on(station_);
    const auto published = station_.seen().rbegin()->first;
    station_.daemon().signal(SIGTERM);
    ASSERT_TRUE(station_.daemon().wait(10s)) << "still runs 10 s after SIGTERM";
    EXPECT_THAT(station_.daemon().err(), HasSubstr("could not be written and are lost"));
    EXPECT_EQ(station_.seen().rbegin()->first, published) << "nothing that is not on disk is published";

    disk_->repair();
    station_.start();
    EXPECT_TRUE(station_.until_events("steady", 4));
    station_.stop();
    expect_whole_journal(station_);
}

TEST_F(FaultOfTheDisk, ADiskThatIsFullAtTheStartDelaysEventsAndLosesNone) {
    if (!mount(SmallDisk::Kind::kMemory)) GTEST_SKIP() << "no small tmpfs to be had: " << reason_;
    expect_start_waits_for_the_disk([&] { disk_->fill(); }, [&] { disk_->make_room(); });
}

TEST_F(FaultOfTheDisk, ADiskThatIsReadOnlyAtTheStartDelaysEventsAndLosesNone) {
    if (!mount(SmallDisk::Kind::kMemory)) GTEST_SKIP() << "no small tmpfs to be had: " << reason_;
    expect_start_waits_for_the_disk([&] { disk_->set_read_only(true); }, [&] { disk_->set_read_only(false); });
}

class DamagedJournal : public testing::Test {
  protected:
    // What the daemon finds at its next start is set aside whole, and it goes on beyond the last seq.
    static void expect_set_aside(const std::function<void(const fs::path&)>& damage, const std::string& reason) {
        Station station(kSteady);
        station.start();
        ASSERT_TRUE(station.until_events("steady", 3));
        station.stop();
        expect_whole_journal(station);
        const auto last = station.seen().rbegin()->first;
        damage(station.journal());
        const auto size = fs::file_size(station.journal());

        station.start();
        EXPECT_TRUE(station.until_logged(reason));
        EXPECT_TRUE(station.until_events("steady", 3));
        station.stop();
        expect_whole_journal(station, last + 1);
        int set_aside = 0;
        for (const auto& file : fs::directory_iterator(station.folder())) {
            const auto name = file.path().filename().string();
            if (!name.starts_with("journal.db.set-aside-") || name.ends_with("-wal") || name.ends_with("-shm"))
                continue;
            ++set_aside;
            EXPECT_EQ(file.file_size(), size);
        }
        EXPECT_EQ(set_aside, 1);
    }
};

TEST_F(DamagedJournal, WithBytesOverwrittenIsSetAside) {
    expect_set_aside(
        [](const fs::path& journal) {
            std::fstream file(journal, std::ios::in | std::ios::out | std::ios::binary);
            const auto size = fs::file_size(journal);
            file.seekp(4096);
            for (auto at = std::uintmax_t{4096}; at < size; ++at) file.put(static_cast<char>(at * 31 % 251));
        },
        "it is damaged");
}

TEST_F(DamagedJournal, CutShortIsSetAside) {
    expect_set_aside([](const fs::path& journal) { fs::resize_file(journal, fs::file_size(journal) / 2 + 100); },
                     "it is damaged");
}

TEST_F(DamagedJournal, ThatIsNoDatabaseIsSetAside) {
    expect_set_aside([](const fs::path& journal) { std::ofstream(journal) << "rubbish, and more of it\n"; },
                     "it is damaged");
}

TEST_F(DamagedJournal, OfANewerFormatIsSetAside) {
    expect_set_aside(
        [](const fs::path& journal) {
            sqlite3* database = nullptr;
            ASSERT_EQ(sqlite3_open(journal.c_str(), &database), SQLITE_OK);
            ASSERT_EQ(sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
            sqlite3_close(database);
        },
        "its format 99 is not");
}

}  // namespace
}  // namespace chorus
