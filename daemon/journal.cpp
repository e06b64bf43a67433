#include "daemon/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "daemon/time_format.h"

namespace chorus {
namespace {

constexpr int kApplicationId = 0x43484f52;  // "CHOR"
constexpr int kFormat = 1;
constexpr std::int64_t kReserve = 1000;  // sequence numbers PATH.seq runs ahead, so that it is rarely written

std::filesystem::path with_suffix(const std::filesystem::path& path, const std::string& suffix) {
    return path.string() + suffix;
}

std::runtime_error cannot(const std::filesystem::path& path, const std::string& what, int error) {
    return std::runtime_error(fmt::format("journal {}: cannot {}: {}", path.string(), what, std::strerror(error)));
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
        if (file.get() < 0) throw SqliteError(errno == EROFS ? SQLITE_READONLY : SQLITE_CANTOPEN, std::strerror(errno));
        const bool written = ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
        if (!written || ::fsync(file.get()) != 0) throw SqliteError(SQLITE_FULL, std::strerror(errno));
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw SqliteError(SQLITE_IOERR, std::strerror(errno));
    const FileDescriptor folder(path.parent_path().empty() ? "." : path.parent_path(), O_RDONLY | O_DIRECTORY);
    if (folder.get() >= 0) ::fsync(folder.get());
}

std::int64_t read_number(const std::filesystem::path& path) {
    std::int64_t number = 0;
    std::ifstream(path) >> number;
    return std::max<std::int64_t>(number, 0);
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

}  // namespace

struct Journal::Lock {
    explicit Lock(const std::filesystem::path& path) : file(with_suffix(path, ".lock"), O_RDWR | O_CREAT) {
        if (file.get() < 0) throw cannot(path, "be opened", errno);
        if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
            throw std::runtime_error(fmt::format("journal {}: another chorusd writes it", path.string()));
    }
    FileDescriptor file;
};

Journal::Journal(JournalOptions options) : options_(std::move(options)) {
    std::error_code error;
    const auto folder = std::filesystem::absolute(options_.path).parent_path();
    std::filesystem::create_directories(folder, error);
    if (error) throw cannot(options_.path, "make its folder", error.value());
    lock_ = std::make_unique<Lock>(options_.path);
    try {
        open();
    } catch (const SqliteError& failure) {
        throw std::runtime_error(fmt::format("journal {}: {}", options_.path.string(), failure.what()));
    }
}

Journal::~Journal() = default;

void Journal::open() {
    std::string fault;
    try {
        database_.emplace(options_.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
        fault = fault_of(*database_);
    } catch (const SqliteError& error) {
        if (!error.is_corruption()) throw;
        fault = std::string("it is damaged: ") + error.what();
    }
    if (!fault.empty()) {
        move_aside(fault);
        database_.emplace(options_.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    }
    open_database(read_number(with_suffix(options_.path, ".seq")));
}

// seq: where a database that is new goes on from.
void Journal::open_database(std::int64_t seq) {
    auto& database = *database_;
    if (database.text("PRAGMA journal_mode = WAL") != "wal")
        throw SqliteError(SQLITE_CANTOPEN, "needs a local file system (no write-ahead log here)");
    database.execute("PRAGMA synchronous = FULL");  // each commit reaches the disk
    reserved_seq_ = read_number(with_suffix(options_.path, ".seq"));
    if (database.number("SELECT count(*) FROM sqlite_schema") == 0) {
        const auto make = fmt::format(
            "BEGIN IMMEDIATE; PRAGMA application_id = {}; PRAGMA user_version = {};"
            "CREATE TABLE events(seq INTEGER PRIMARY KEY AUTOINCREMENT, time_us INTEGER NOT NULL, topic TEXT NOT NULL,"
            " body TEXT NOT NULL);"
            "INSERT INTO sqlite_sequence(name, seq) VALUES('events', {}); COMMIT",
            kApplicationId, kFormat, seq);
        database.execute(make.c_str());
    }
    last_seq_ = database.number("SELECT seq FROM sqlite_sequence WHERE name = 'events'");
    insert_ = database.prepare("INSERT INTO events(seq, time_us, topic, body) VALUES(?1, ?2, ?3, ?4)");
}

void Journal::append(std::span<const JournalEntry> entries, UtcTime now) {
    if (entries.empty()) return;
    reserve(entries.back().seq);
    for (int attempt = 0;; ++attempt) {
        try {
            database_->execute("BEGIN IMMEDIATE");
            for (const auto& entry : entries) {
                insert_->bind(1, entry.seq).bind(2, now.time_since_epoch().count());
                insert_->bind(3, std::string_view(entry.topic)).bind(4, std::string_view(entry.body)).step();
            }
            database_->execute("COMMIT");
            last_seq_ = entries.back().seq;
            return;
        } catch (const SqliteError& error) {
            if (error.is_corruption() && attempt == 0) {
                move_aside(std::string("it is damaged: ") + error.what());
                database_.emplace(options_.path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
                open_database(last_seq_);
                continue;
            }
            try {
                database_->execute("ROLLBACK");
            } catch (const SqliteError&) {
                // A full disk has rolled it back already.
            }
            throw;
        }
    }
}

void Journal::reserve(std::int64_t seq) {
    if (seq <= reserved_seq_) return;
    write_durably(with_suffix(options_.path, ".seq"), fmt::format("{}\n", seq + kReserve));
    reserved_seq_ = seq + kReserve;
}

void Journal::move_aside(const std::string& reason) {
    insert_.reset();
    database_.reset();
    // Without the seconds' fraction two in one second would share a name.
    auto when = to_iso8601(utc_now());
    std::erase_if(when, [](char c) { return c == '-' || c == ':'; });
    const auto aside = with_suffix(options_.path, ".set-aside-" + when);
    if (::rename(options_.path.c_str(), aside.c_str()) != 0) throw SqliteError(SQLITE_IOERR, std::strerror(errno));
    for (const char* suffix : {"-wal", "-shm"})
        ::rename(with_suffix(options_.path, suffix).c_str(), with_suffix(aside, suffix).c_str());
    set_aside_.push_back(fmt::format("journal {}: {}; set aside as {}, a new one is begun", options_.path.string(),
                                     reason, aside.string()));
}

std::int64_t Journal::trim(UtcTime now, bool clock_synced) {
    const auto oldest = (now - options_.keep).time_since_epoch().count();
    const bool too_big = stats().bytes > options_.max_bytes;
    auto remove = database_->prepare(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?1) AND (?2 OR time_us < ?3)");
    remove.bind(1, std::int64_t{kTrimRows}).bind(2, std::int64_t{too_big});
    remove.bind(3, clock_synced ? oldest : INT64_MIN).step();
    return database_->changes();
}

std::vector<JournalEntry> Journal::unfinished() {
    // An event's rows share its id; the newest tells how it stood.
    auto rows = database_->prepare(
        "SELECT max(seq), topic, body FROM events WHERE seq > ?1 AND json_valid(body) GROUP BY json_extract(body, "
        "'$.id')"
        " HAVING json_extract(body, '$.phase') <> 'close' ORDER BY 1");
    rows.bind(1, last_seq_ - kUnfinishedRows);
    std::vector<JournalEntry> entries;
    while (rows.step()) entries.push_back({rows.number(0), rows.text(1), rows.text(2)});
    return entries;
}

JournalStats Journal::stats() {
    const auto pages = database_->number("PRAGMA page_count") - database_->number("PRAGMA freelist_count");
    // No holes, so first and last tell the count without a walk through the table.
    const auto first = database_->number("SELECT min(seq) FROM events");
    return {.events = first == 0 ? 0 : last_seq_ - first + 1, .bytes = pages * database_->number("PRAGMA page_size")};
}

std::vector<std::string> Journal::set_aside() {
    return std::exchange(set_aside_, {});
}

JournalSlice read_journal(const std::filesystem::path& path, std::int64_t after, int limit, std::size_t max_bytes) {
    // Opened anew each time: the journal may have been set aside meanwhile.
    SqliteDatabase database(path, SQLITE_OPEN_READONLY);
    database.execute("BEGIN");  // one moment for all three
    JournalSlice slice;
    slice.first = database.number("SELECT min(seq) FROM events");
    slice.last = database.number("SELECT max(seq) FROM events");
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
