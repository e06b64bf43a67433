#include "daemon/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include "daemon/time_format.h"

namespace chorus {
namespace {

constexpr int kApplicationId = 0x43484f52;  // "CHOR"
constexpr int kFormat = 1;
constexpr std::int64_t kReserve = 1000;  // sequence numbers PATH.seq runs ahead, so that it is rarely written
constexpr int kLongLog = 256;            // pages of the write-ahead log that a quiet moment writes back
constexpr int kLongestLog = 4096;        // 16 MiB; then also when it isn't quiet

std::filesystem::path with_suffix(const std::filesystem::path& path, const std::string& suffix) {
    return path.string() + suffix;
}

std::string cannot(const std::string& what, int error) {
    return fmt::format("cannot {}: {}", what, std::strerror(error));
}

// A disk that is full, read-only or failing is a SqliteError, as SQLite itself would say it.
[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what, int error) {
    const auto text = cannot(what, error);
    if (error == EROFS) throw SqliteError(SQLITE_READONLY, text);
    if (error == ENOSPC || error == EDQUOT) throw SqliteError(SQLITE_FULL, text);
    if (error == EIO) throw SqliteError(SQLITE_IOERR, text);
    throw std::runtime_error(fmt::format("journal {}: {}", path.string(), text));
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
    return std::filesystem::absolute(path).parent_path();
}

// Whether it is the disk's fault, or that of another program that holds the database, and may pass by itself.
bool may_pass(const SqliteError& error, std::filesystem::path folder) {
    if (error.code() == SQLITE_FULL || error.code() == SQLITE_IOERR || error.code() == SQLITE_BUSY) return true;
    if (error.code() != SQLITE_READONLY && error.code() != SQLITE_CANTOPEN) return false;
    while (!std::filesystem::exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
    struct statvfs disk {};
    return ::statvfs(folder.c_str(), &disk) == 0 && ((disk.f_flag & ST_RDONLY) != 0 || disk.f_bavail == 0);
}

class FileDescriptor {
  public:
    FileDescriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0640)) {}
    ~FileDescriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

// Replaces the file's content so that a loss of power leaves the old or the new.
void write_durably(const std::filesystem::path& path, const std::string& text) {
    const auto temporary = with_suffix(path, ".new");
    {
        const FileDescriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
        if (file.get() < 0) throw SqliteError(SQLITE_CANTOPEN, cannot("open " + temporary.string(), errno));
        const bool written = ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
        if (!written || ::fsync(file.get()) != 0)
            throw SqliteError(SQLITE_FULL, cannot("write " + temporary.string(), errno));
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0)
        throw SqliteError(SQLITE_IOERR, cannot("make " + path.string(), errno));
    const FileDescriptor folder(folder_of(path), O_RDONLY | O_DIRECTORY);
    if (folder.get() >= 0) ::fsync(folder.get());
}

// 0 where there is no such file; one that is there and can't be read must not pass for none.
std::int64_t read_number(const std::filesystem::path& path) {
    const FileDescriptor file(path, O_RDONLY);
    if (file.get() < 0 && errno == ENOENT) return 0;
    char text[32] = {};
    if (file.get() < 0 || ::read(file.get(), text, sizeof text - 1) < 0) fail(path, "read it", errno);
    return std::max<std::int64_t>(std::strtoll(text, nullptr, 10), 0);
}

SqliteDatabase open_file(const std::filesystem::path& path) {
    SqliteDatabase database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    // SQLite would be content with reading, and stay so when the disk can be written again.
    if (database.is_read_only()) throw SqliteError(SQLITE_READONLY, "it can only be read");
    return database;
}

// Why the database can't be used; empty if it can. A new, empty file can.
std::string fault_of(SqliteDatabase& database) {
    const auto format = database.number("PRAGMA user_version");
    if (database.number("SELECT count(*) FROM sqlite_schema") == 0 && format == 0) return "";
    if (database.number("PRAGMA application_id") != kApplicationId) return "it is no journal of Chorus";
    if (format != kFormat) return fmt::format("its format {} is not the {} known here", format, kFormat);
    const auto check = database.text("PRAGMA quick_check(1)");
    return check == "ok" ? "" : "it is damaged: " + check.substr(0, check.find('\n'));
}

// The last row known to be older than `oldest`, before the first known to be younger, among the first kTrimRows; 0:
// none. What came from the future or from a clock not known to be right says nothing.
std::int64_t last_too_old(SqliteDatabase& database, UtcTime oldest, UtcTime now) {
    auto rows = database.prepare("SELECT seq, time_us FROM events ORDER BY seq LIMIT ?1");
    rows.bind(1, std::int64_t{Journal::kTrimRows});
    std::int64_t last = 0;
    while (rows.step()) {
        const UtcTime time{std::chrono::microseconds(rows.number(1))};
        if (time >= oldest && time <= now) break;
        if (time >= UtcTime{} && time < oldest) last = rows.number(0);
    }
    return last;
}

}  // namespace

struct Journal::Lock {
    // Opened for reading, so that a lock that is there already can be taken on a read-only disk, too.
    explicit Lock(const std::filesystem::path& path) : file(with_suffix(path, ".lock"), O_RDONLY | O_CREAT) {
        if (file.get() < 0) fail(path, "open " + with_suffix(path, ".lock").string(), errno);
        if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
            throw std::runtime_error(fmt::format("journal {}: another chorusd writes it", path.string()));
    }
    FileDescriptor file;
};

Journal::Journal(JournalOptions options) : options_(std::move(options)) {
    try {
        open();
    } catch (const SqliteError& failure) {
        if (!may_pass(failure, folder_of(options_.path)))
            throw std::runtime_error(fmt::format("journal {}: {}", options_.path.string(), failure.what()));
    }
}

Journal::~Journal() = default;

void Journal::open() {
    if (database_) return;
    std::error_code error;
    std::filesystem::create_directories(folder_of(options_.path), error);
    if (error) fail(options_.path, "make its folder", error.value());
    if (!lock_) lock_ = std::make_unique<Lock>(options_.path);
    std::string fault;
    try {
        auto database = open_file(options_.path);
        if (!checked_) fault = fault_of(database);  // reads all of it: not again at each attempt on a full disk
        checked_ = fault.empty();
        if (checked_) return use(std::move(database));
    } catch (const SqliteError& failure) {
        if (!failure.is_corruption()) throw;
        fault = std::string("it is damaged: ") + failure.what();
    }
    move_aside(fault);
    use(open_file(options_.path));
}

void Journal::use(SqliteDatabase database) {
    if (database.text("PRAGMA journal_mode = WAL") != "wal")
        throw SqliteError(SQLITE_CANTOPEN, "needs a local file system (no write-ahead log here)");
    database.execute("PRAGMA synchronous = FULL");  // each commit reaches the disk
    database.checkpoint_by_hand();
    reserved_seq_ = read_number(with_suffix(options_.path, ".seq"));
    if (database.number("SELECT count(*) FROM sqlite_schema") == 0) {
        const auto make = fmt::format(
            "BEGIN IMMEDIATE; PRAGMA application_id = {}; PRAGMA user_version = {};"
            "CREATE TABLE events(seq INTEGER PRIMARY KEY AUTOINCREMENT, time_us INTEGER NOT NULL, topic TEXT NOT NULL,"
            " body TEXT NOT NULL);"
            "INSERT INTO sqlite_sequence(name, seq) VALUES('events', {}); COMMIT",
            kApplicationId, kFormat, last_seq_ > 0 ? last_seq_ : reserved_seq_);
        database.execute(make.c_str());
    }
    auto last = database.number("SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    if (reserved_seq_ > last + kReserve + static_cast<std::int64_t>(kMostAtOnce)) {
        said_.push_back(
            fmt::format("journal {}: it ends with number {}, though numbers up to {} may have been given out: it is an "
                        "older copy; numbers go on from there",
                        options_.path.string(), last, reserved_seq_));
        last = reserved_seq_;
    }
    reserve(std::max(reserved_seq_, last + kReserve));  // also shows whether the disk takes anything
    insert_ = database.prepare("INSERT INTO events(seq, time_us, topic, body) VALUES(?1, ?2, ?3, ?4)");
    database_ = std::move(database);
    last_seq_ = std::max(last_seq_, last);
}

// What finds the database damaged begins again with a new one.
template <typename Work>
auto Journal::with_database(Work work) {
    open();
    try {
        return work(*database_);
    } catch (const SqliteError& error) {
        if (!error.is_corruption()) throw;
        move_aside(std::string("it is damaged: ") + error.what());
    }
    open();
    return work(*database_);
}

void Journal::append(std::span<const JournalEntry> entries, UtcTime now, bool clock_synced) {
    if (entries.empty()) return;
    if (entries.size() > kMostAtOnce) throw std::invalid_argument("more events at once than the journal takes");
    const std::int64_t time_us = now.time_since_epoch().count() * (clock_synced ? 1 : -1);
    with_database([&](SqliteDatabase& database) {
        if (entries.back().seq > reserved_seq_) reserve(entries.back().seq + kReserve);
        if (database.wal_pages() >= kLongestLog) database.checkpoint();
        try {
            database.execute("BEGIN IMMEDIATE");
            for (const auto& entry : entries) {
                insert_->bind(1, entry.seq).bind(2, time_us);
                insert_->bind(3, std::string_view(entry.topic)).bind(4, std::string_view(entry.body)).step();
            }
            database.execute("COMMIT");
        } catch (const SqliteError&) {
            try {
                database.execute("ROLLBACK");
            } catch (const SqliteError&) {
                // A full disk has rolled it back already.
            }
            throw;
        }
    });
    last_seq_ = entries.back().seq;
}

void Journal::reserve(std::int64_t seq) {
    write_durably(with_suffix(options_.path, ".seq"), fmt::format("{}\n", seq));
    reserved_seq_ = seq;
}

// Closes the database. Where it can't be moved, the next open() tries again.
void Journal::move_aside(const std::string& reason) {
    insert_.reset();
    database_.reset();
    checked_ = false;
    // Without the seconds' fraction two in one second would share a name.
    auto when = to_iso8601(utc_now());
    std::erase_if(when, [](char c) { return c == '-' || c == ':'; });
    const auto aside = with_suffix(options_.path, ".set-aside-" + when);
    if (::rename(options_.path.c_str(), aside.c_str()) != 0)
        throw SqliteError(SQLITE_IOERR, fmt::format("{}, and cannot be set aside: {}", reason, std::strerror(errno)));
    for (const char* suffix : {"-wal", "-shm"})
        ::rename(with_suffix(options_.path, suffix).c_str(), with_suffix(aside, suffix).c_str());
    said_.push_back(fmt::format("journal {}: {}; set aside as {}, a new one is begun", options_.path.string(), reason,
                                aside.string()));
}

std::int64_t Journal::trim(UtcTime now, bool clock_synced) {
    return with_database([&](SqliteDatabase& database) {
        const auto [events, bytes] = stats();
        if (events == 0) return std::int64_t{0};
        const auto first = database.number("SELECT min(seq) FROM events");
        std::int64_t last = clock_synced ? last_too_old(database, now - options_.keep, now) : 0;
        if (bytes > options_.max_bytes) {
            const auto too_many = (bytes - options_.max_bytes) * events / bytes + 1;  // were all rows of a size
            last = std::max(last, first - 1 + std::min({too_many, std::int64_t{kTrimRows}, events - 1}));
        }
        if (last < first) return std::int64_t{0};
        auto remove = database.prepare("DELETE FROM events WHERE seq <= ?1");
        remove.bind(1, last).step();
        return database.changes();
    });
}

void Journal::checkpoint() {
    with_database([](SqliteDatabase& database) {
        if (database.wal_pages() >= kLongLog) database.checkpoint();
    });
}

std::vector<JournalEntry> Journal::unfinished() {
    return with_database([&](SqliteDatabase& database) {
        // An event's rows share its id; the newest tells how it stood.
        auto rows = database.prepare(
            "SELECT max(seq), topic, body FROM events WHERE seq > ?1 AND json_valid(body) GROUP BY json_extract(body, "
            "'$.id')"
            " HAVING json_extract(body, '$.phase') <> 'close' ORDER BY 1");
        rows.bind(1, last_seq_ - kUnfinishedRows);
        std::vector<JournalEntry> entries;
        while (rows.step()) entries.push_back({rows.number(0), rows.text(1), rows.text(2)});
        return entries;
    });
}

JournalStats Journal::stats() {
    return with_database([&](SqliteDatabase& database) {
        const auto pages = database.number("PRAGMA page_count") - database.number("PRAGMA freelist_count");
        // Holes come from restored copies alone, so first and last tell about the count without a walk through the
        // table.
        const auto first = database.number("SELECT min(seq) FROM events");
        return JournalStats{.events = first == 0 ? 0 : last_seq_ - first + 1,
                            .bytes = pages * database.number("PRAGMA page_size")};
    });
}

std::vector<std::string> Journal::news() {
    return std::exchange(said_, {});
}

JournalSlice read_journal(const std::filesystem::path& path, std::int64_t after, int limit, std::size_t max_bytes) {
    // Opened anew each time: the journal may have been set aside meanwhile.
    SqliteDatabase database(path, SQLITE_OPEN_READONLY);
    database.execute("BEGIN");  // one moment for all three
    JournalSlice slice;
    slice.first = database.number("SELECT min(seq) FROM events");
    slice.last = database.number("SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    auto rows = database.prepare("SELECT seq, topic, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    rows.bind(1, after).bind(2, std::int64_t{limit});
    for (std::size_t bytes = 0; rows.step();) {
        JournalEntry entry{rows.number(0), rows.text(1), rows.text(2)};
        bytes += entry.body.size();
        if (bytes > max_bytes && !slice.entries.empty()) break;
        slice.entries.push_back(std::move(entry));
    }
    return slice;
}

}  // namespace chorus
