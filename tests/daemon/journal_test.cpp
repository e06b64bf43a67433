#include "daemon/journal.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "daemon/time_format.h"
#include "tests/daemon/frozen_folder.h"
#include "tests/end_to_end/small_disk.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string body(std::int64_t seq, const std::string& id, const std::string& phase) {
    return fmt::format(R"({{"phase": "{}", "id": "{}", "seq": {}}})", phase, id, seq);
}

std::vector<JournalEntry> entries(std::int64_t after, int count) {
    std::vector<JournalEntry> made;
    for (std::int64_t seq = after + 1; seq <= after + count; ++seq)
        made.push_back({seq, "event.st.mic.0.TONE", body(seq, std::to_string(seq), "close")});
    return made;
}

void append(Journal& journal, int count, UtcTime now = utc_now()) {
    for (; count > 0; count -= 1000) journal.append(entries(journal.last_seq(), std::min(count, 1000)), now, true);
}

std::vector<std::int64_t> kept(const std::filesystem::path& path) {
    std::vector<std::int64_t> numbers;
    for (const auto& entry : read_journal(path, 0, 1'000'000, SIZE_MAX).entries) numbers.push_back(entry.seq);
    return numbers;
}

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t last) {
    std::vector<std::int64_t> made;
    for (auto seq = first; seq <= last; ++seq) made.push_back(seq);
    return made;
}

TEST(Journal, GoesOnWhereTheLastRunEnded) {
    const TemporaryFolder folder;
    const auto path = folder / "new/folder/journal.db";
    for (int run = 0; run < 3; ++run) {
        Journal journal({.path = path});
        EXPECT_EQ(journal.last_seq(), 2 * run);
        append(journal, 2);
        EXPECT_THAT(journal.news(), IsEmpty());
    }
    EXPECT_EQ(kept(path), numbers(1, 6));
    const auto slice = read_journal(path, 4, 10, 1000);
    ASSERT_THAT(slice.entries, SizeIs(2));
    EXPECT_EQ(slice.entries[0].topic, "event.st.mic.0.TONE");
    EXPECT_EQ(slice.entries[1].body, body(6, "6", "close"));
}

TEST(Journal, HandsOutSlicesByCountAndBytesAndAtLeastOne) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db"});
    const auto empty = read_journal(folder / "j.db", 0, 10, 1000);
    EXPECT_EQ(empty.first, 0);
    EXPECT_EQ(empty.last, 0);
    append(journal, 20);
    EXPECT_THAT(read_journal(folder / "j.db", 5, 3, 1000).entries, SizeIs(3));
    EXPECT_THAT(read_journal(folder / "j.db", 5, 10, 1).entries, SizeIs(1));
    EXPECT_THAT(read_journal(folder / "j.db", 20, 10, 1000).entries, IsEmpty());
    EXPECT_EQ(read_journal(folder / "j.db", 20, 10, 1000).last, 20);
}

TEST(Journal, IsWrittenByOneProcessAtATime) {
    const TemporaryFolder folder;
    const Journal first({.path = folder / "j.db"});
    try {
        const Journal second({.path = folder / "j.db"});
        FAIL() << "two writers would give the same numbers";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr((folder / "j.db").string()));
        EXPECT_THAT(error.what(), HasSubstr("another chorusd"));
    }
}

TEST(Journal, NamesThePathThatCannotBeOpened) {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "j.db");
    try {
        const Journal journal({.path = folder / "j.db"});
        FAIL();
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr((folder / "j.db").string()));
    }
}

class DamagedJournal : public testing::TestWithParam<std::pair<const char*, void (*)(const std::filesystem::path&)>> {};

TEST_P(DamagedJournal, IsSetAsideAndNoNumberIsGivenTwice) {
    const TemporaryFolder folder;
    const auto path = folder / "j.db";
    {
        Journal journal({.path = path});
        append(journal, 500);
    }
    GetParam().second(path);
    Journal journal({.path = path});
    const auto said = journal.news();
    ASSERT_THAT(said, SizeIs(1));
    EXPECT_THAT(said[0], HasSubstr(path.string() + ".set-aside-"));
    EXPECT_GE(journal.last_seq(), 500);
    const auto last = journal.last_seq();
    append(journal, 2);
    EXPECT_THAT(kept(path), ElementsAre(last + 1, last + 2));
    int aside = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
        aside += entry.path().string().find(".set-aside-") != std::string::npos;
    EXPECT_GE(aside, 1) << "nothing is deleted";
}

void overwrite(const std::filesystem::path& path, std::streamoff at, std::size_t count) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << std::string(count, '\xa5');
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DamagedJournal,
    testing::Values(
        std::pair{"header", +[](const std::filesystem::path& path) { overwrite(path, 0, 64); }},
        std::pair{"page", +[](const std::filesystem::path& path) { overwrite(path, 4096, 4096); }},
        std::pair{"cut", +[](const std::filesystem::path& path) { std::filesystem::resize_file(path, 6000); }},
        std::pair{"text", +[](const std::filesystem::path& path) { std::ofstream(path) << "these are my notes\n"; }},
        std::pair{"newer",
                  +[](const std::filesystem::path& path) {
                      SqliteDatabase(path, SQLITE_OPEN_READWRITE).execute("PRAGMA user_version = 2");
                  }}),
    [](const auto& test) { return test.param.first; });

TEST(Journal, GoesOnAfterALostDatabase) {
    const TemporaryFolder folder;
    {
        Journal journal({.path = folder / "j.db"});
        append(journal, 3);
    }
    std::filesystem::remove(folder / "j.db");
    Journal journal({.path = folder / "j.db"});
    EXPECT_GE(journal.last_seq(), 3);
}

TEST(Journal, ForgetsTheOldOnlyWhileTheClockIsKnownToBeRight) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .keep = std::chrono::days(30)});
    const auto now = utc_now();
    append(journal, 10, now - std::chrono::days(31));
    append(journal, 10, now - std::chrono::days(29));
    EXPECT_EQ(journal.trim(now, false), 0);
    EXPECT_EQ(journal.trim(now, true), 10);
    EXPECT_EQ(kept(folder / "j.db"), numbers(11, 20));
    EXPECT_EQ(journal.stats().events, 10);
    append(journal, 1);
    EXPECT_EQ(journal.last_seq(), 21);
}

TEST(Journal, LosesOnlyItsBeginningToAge) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .keep = std::chrono::days(30)});
    const auto now = utc_now();
    const UtcTime unset{std::chrono::hours(1)};  // 1970: no battery behind the clock
    append(journal, 5, now - std::chrono::days(31));
    append(journal, 5, unset);
    append(journal, 5, now - std::chrono::days(31));
    append(journal, 5, now - std::chrono::days(2));
    append(journal, 5, unset);
    append(journal, 5, now - std::chrono::days(31));
    append(journal, 5, now);
    while (journal.trim(now, true) > 0) {
    }
    EXPECT_EQ(kept(folder / "j.db"), numbers(16, 35));
}

TEST(Journal, KeepsWhatAClockNotKnownToBeRightStamped) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .keep = std::chrono::days(30), .max_bytes = 128 << 10});
    const auto now = utc_now();
    journal.append(entries(0, 10), UtcTime{std::chrono::hours(1)}, false);
    append(journal, 10, now);
    EXPECT_EQ(journal.trim(now, true), 0);
    EXPECT_EQ(kept(folder / "j.db"), numbers(1, 20));
    append(journal, 10'000, now);
    while (journal.trim(now, true) > 0) {
    }
    EXPECT_GT(kept(folder / "j.db").front(), 20) << "but not beyond the size";
}

TEST(Journal, TrimsToJustBelowItsBytes) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .max_bytes = 1 << 20});
    for (int i = 0; i < 300; ++i) {
        auto rows = entries(journal.last_seq(), 50);
        for (auto& row : rows) row.body += std::string(600, ' ');
        journal.append(rows, utc_now(), true);
        while (journal.trim(utc_now(), true) > 0) {
        }
        if (i < 40) continue;
        ASSERT_LE(journal.stats().bytes, 1 << 20);
        ASSERT_GE(journal.stats().bytes, 950 << 10) << "after " << journal.last_seq();
    }
}

TEST(Journal, NeverTrimsTheNewest) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .max_bytes = 1});
    append(journal, 100);
    while (journal.trim(utc_now(), true) > 0) {
    }
    EXPECT_EQ(kept(folder / "j.db"), numbers(100, 100));
}

TEST(Journal, KeepsItsLogShort) {
    const TemporaryFolder folder;
    const auto log = folder / "j.db-wal";
    Journal journal({.path = folder / "j.db"});
    for (int i = 0; i < 300; ++i) {
        append(journal, 50);
        journal.checkpoint();
    }
    EXPECT_LE(std::filesystem::file_size(log), 2U << 20);
    for (int i = 0; i < 100; ++i) append(journal, 2000);
    EXPECT_LE(std::filesystem::file_size(log), 20U << 20) << "also where no moment is quiet";
}

// The rows' table is gone from the schema, as a damaged page would take it.
void damage_running(const std::filesystem::path& path) {
    SqliteDatabase other(path, SQLITE_OPEN_READWRITE);
    other.execute(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE rubbish' WHERE name = 'events';"
        "PRAGMA schema_version = 999");
}

TEST(Journal, GivesNoNumberTwiceWhenAnOlderCopyIsPutBack) {
    const TemporaryFolder folder;
    const auto path = folder / "j.db";
    {
        Journal journal({.path = path});
        append(journal, 5);
    }
    std::filesystem::copy(path, folder / "copy.db");
    {
        Journal journal({.path = path});
        for (int batch = 0; batch < 30; ++batch) append(journal, 100);
    }
    std::filesystem::rename(folder / "copy.db", path);
    Journal journal({.path = path});
    EXPECT_GE(journal.last_seq(), 3005);
    const auto said = journal.news();
    ASSERT_THAT(said, SizeIs(1));
    EXPECT_THAT(said[0], HasSubstr("older copy"));
    append(journal, 2);
    EXPECT_THAT(kept(path), SizeIs(7));
    const auto last = journal.last_seq();
    EXPECT_EQ(read_journal(path, 5, 1, 1000).entries.at(0).seq, last - 1);
    EXPECT_EQ(read_journal(path, 5, 1, 1000).last, last);
}

TEST(Journal, TellsTheLastNumberOfOneThatIsNewAndEmpty) {
    const TemporaryFolder folder;
    {
        Journal journal({.path = folder / "j.db"});
        append(journal, 5);
    }
    std::filesystem::remove(folder / "j.db");
    const Journal journal({.path = folder / "j.db"});
    EXPECT_EQ(read_journal(folder / "j.db", 0, 1, 1000).first, 0);
    EXPECT_EQ(read_journal(folder / "j.db", 0, 1, 1000).last, journal.last_seq());
    EXPECT_GE(journal.last_seq(), 5);
}

TEST(Journal, IsSetAsideWhileItIsWritten) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db"});
    append(journal, 3);
    damage_running(folder / "j.db");
    append(journal, 2);
    EXPECT_THAT(journal.news(), SizeIs(1));
    EXPECT_EQ(kept(folder / "j.db"), numbers(4, 5));
}

TEST(Journal, TriesAgainWhatCannotBeSetAside) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db"});
    append(journal, 3);
    damage_running(folder / "j.db");
    if (!freeze_folder(folder.path(), true)) GTEST_SKIP() << "no folder can be made immutable here";
    for (int i = 0; i < 2; ++i) {
        EXPECT_THROW(append(journal, 1), SqliteError);
        EXPECT_THROW(journal.trim(utc_now(), true), SqliteError);
        EXPECT_THROW(journal.stats(), SqliteError);
    }
    ASSERT_TRUE(freeze_folder(folder.path(), false));
    append(journal, 2);
    EXPECT_THAT(journal.news(), SizeIs(1));
    EXPECT_EQ(kept(folder / "j.db"), numbers(4, 5));
}

TEST(Journal, WaitsForADiskThatIsReadOnlyAtTheStart) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "no small file system can be mounted here";
    const auto path = folder / "disk/state/j.db";
    std::int64_t last = 0;
    for (const bool first_start : {true, false}) {
        disk->set_read_only(true);
        Journal journal({.path = path});
        EXPECT_THROW(journal.open(), SqliteError);
        EXPECT_THROW(append(journal, 1), SqliteError);
        EXPECT_THROW(journal.unfinished(), SqliteError);
        if (!first_start) {
            EXPECT_THROW(Journal({.path = path}), std::runtime_error) << "two would wait to write it";
        }
        disk->set_read_only(false);
        journal.open();
        EXPECT_EQ(journal.last_seq(), last);
        append(journal, 3);
        last = journal.last_seq();
    }
    EXPECT_EQ(kept(path), numbers(1, 6));
}

TEST(Journal, WaitsForADiskThatIsFullAtTheStart) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "no small file system can be mounted here";
    const auto path = folder / "disk/state/j.db";
    std::int64_t last = 0;
    for (int start = 0; start < 2; ++start) {
        disk->fill();
        Journal journal({.path = path});
        EXPECT_THROW(journal.open(), SqliteError);
        EXPECT_THROW(append(journal, 1), SqliteError);
        disk->make_room();
        journal.open();
        EXPECT_EQ(journal.last_seq(), last);
        append(journal, 3);
        last = journal.last_seq();
    }
    EXPECT_EQ(kept(path), numbers(1, 6));
}

TEST(Journal, StaysWithinItsBytes) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db", .max_bytes = 1 << 20});
    for (int i = 0; i < 30; ++i) {
        append(journal, 2000);
        while (journal.trim(utc_now(), false) > 0) {
        }
        EXPECT_LE(journal.stats().bytes, 1 << 20);
    }
    const auto rows = kept(folder / "j.db");
    ASSERT_FALSE(rows.empty());
    EXPECT_EQ(rows, numbers(rows.front(), 60'000)) << "the newest are kept, without holes";
    EXPECT_LE(std::filesystem::file_size(folder / "j.db"), 2U << 20);
}

TEST(Journal, KnowsWhichEventsWereLeftOpen) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "j.db"});
    journal.append(std::vector<JournalEntry>{{1, "a", body(1, "A", "open")},
                                             {2, "b", body(2, "B", "open")},
                                             {3, "a", body(3, "A", "update")},
                                             {4, "b", body(4, "B", "close")}},
                   utc_now(), true);
    const auto open = journal.unfinished();
    ASSERT_THAT(open, SizeIs(1));
    EXPECT_EQ(open[0].topic, "a");
    EXPECT_EQ(open[0].body, body(3, "A", "update"));
}

TEST(Journal, HoldsWhatItPromisedWhenKilled) {
    const TemporaryFolder folder;
    const auto path = folder / "j.db";
    for (int run = 0; run < 10; ++run) {
        int pipe_ends[2];
        ASSERT_EQ(pipe(pipe_ends), 0);
        const pid_t child = fork();
        if (child == 0) {
            Journal journal({.path = path});
            for (int size = 1;; size = size % 7 + 1) {
                append(journal, size);
                const auto last = journal.last_seq();
                if (write(pipe_ends[1], &last, sizeof last) != sizeof last) _exit(1);
            }
        }
        close(pipe_ends[1]);
        std::int64_t promised = 0;
        for (int i = 0; i < 5 + 13 * run; ++i)
            ASSERT_EQ(read(pipe_ends[0], &promised, sizeof promised), sizeof promised);
        kill(child, SIGKILL);
        for (std::int64_t more = 0; read(pipe_ends[0], &more, sizeof more) == sizeof more;) promised = more;
        close(pipe_ends[0]);
        waitpid(child, nullptr, 0);
        const Journal journal({.path = path});
        EXPECT_GE(journal.last_seq(), promised);
        ASSERT_EQ(kept(path), numbers(1, journal.last_seq()));
    }
}

}  // namespace
}  // namespace chorus
