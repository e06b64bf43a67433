#pragma once
// The events of a station on disk, each phase of each, in the order of their sequence numbers: what `replay` answers
// from.
//
// An SQLite database in WAL mode, application_id "CHOR", user_version 1:
//   events(seq INTEGER PRIMARY KEY AUTOINCREMENT, time_us INTEGER, topic TEXT, body TEXT)
// seq is one apart; time_us is the UTC at which the row was written, negated while the clock was not known to be right;
// topic and body are the message as published.
// PATH.lock is held by the one process that writes; PATH.seq holds a number that no sequence number given out is
// beyond, so that none is given out twice even if the database is lost or an older copy of it put back.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/sqlite.h"
#include "streaming/audio_block.h"

namespace chorus {

struct JournalEntry {
    std::int64_t seq = 0;
    std::string topic;
    std::string body;
};

struct JournalOptions {
    std::filesystem::path path;
    std::chrono::days keep{365};
    std::int64_t max_bytes = 256LL << 20;
};

struct JournalStats {
    std::int64_t events = 0;
    std::int64_t bytes = 0;  // of the pages in use
};

/// Writes the journal. One thread.
class Journal {
  public:
    /// Opens it as open() does, but leaves it to a later open() where only the disk is in the way. Throws
    /// std::runtime_error naming the path if it can't be opened for another reason or another process writes it.
    explicit Journal(JournalOptions options);
    ~Journal();
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    /// Opens or creates it where it isn't open; all that follow do so first. One that is damaged or of a newer format
    /// is set aside under a name that says when, and a new one begun; news() says so. Throws SqliteError while a
    /// disk that is full, read-only or failing is in the way, else std::runtime_error as the constructor.
    void open();

    /// The last sequence number given out, ever; 0 before the first and until it could be opened.
    std::int64_t last_seq() const { return last_seq_; }

    static constexpr std::size_t kMostAtOnce = 1000;
    /// All of them or none, kMostAtOnce at most; on disk when it returns, also against a loss of power. Their seq
    /// follow last_seq(). Throws SqliteError when nothing was written (a full or read-only disk); a journal found
    /// damaged is set aside instead.
    void append(std::span<const JournalEntry> entries, UtcTime now, bool clock_synced);

    /// Removes up to kTrimRows of what is beyond the retention, from the oldest on without a hole. By age only what is
    /// known to be old, and only while the clock is known to be right: a clock that jumped must not empty the journal.
    /// By size as many as are too many; the newest stays. Returns the rows removed.
    static constexpr int kTrimRows = 2000;
    std::int64_t trim(UtcTime now, bool clock_synced);

    /// Writes a log that has grown back into the database, which takes several flushes: for when no event waits. Left
    /// undone for too long, append() does it.
    void checkpoint();

    /// The last message of each event that was opened and not closed, among the newest kUnfinishedRows rows.
    static constexpr int kUnfinishedRows = 20'000;
    std::vector<JournalEntry> unfinished();

    JournalStats stats();

    /// What its keeper should know, one line each: where damaged or newer journals went, and why; that an older copy
    /// was put in place. Asking empties it.
    std::vector<std::string> news();

  private:
    struct Lock;
    template <typename Work>
    auto with_database(Work work);
    void use(SqliteDatabase database);
    void reserve(std::int64_t seq);
    void move_aside(const std::string& reason);

    const JournalOptions options_;
    std::unique_ptr<Lock> lock_;
    std::optional<SqliteDatabase> database_;  // none: not opened yet, or damaged and not to be moved
    std::optional<SqliteStatement> insert_;
    std::int64_t last_seq_ = 0;
    std::int64_t reserved_seq_ = 0;  // what PATH.seq holds
    bool checked_ = false;           // this process found the database whole
    std::vector<std::string> said_;
};

/// A part of the journal as a reader sees it.
struct JournalSlice {
    std::int64_t first = 0;  // the oldest seq kept; 0: the journal is empty
    std::int64_t last = 0;   // the newest ever given out
    std::vector<JournalEntry> entries;
};

/// The entries after `after`, in order: at most `limit`, and no more than `max_bytes` of bodies but at least one.
/// Beside a journal that is being written. Any thread; throws std::runtime_error.
JournalSlice read_journal(const std::filesystem::path& path, std::int64_t after, int limit, std::size_t max_bytes);

}  // namespace chorus
