#pragma once
// SQLite's C interface, wrapped as far as the journal needs it. One thread a connection.

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace chorus {

class SqliteError : public std::runtime_error {
  public:
    SqliteError(int code, const std::string& text) : std::runtime_error(text), code_(code & 0xff) {}
    /// SQLITE_CORRUPT, SQLITE_FULL, ...: the primary result code.
    int code() const { return code_; }
    /// The file is no database, or a damaged one.
    bool is_corruption() const { return code_ == SQLITE_CORRUPT || code_ == SQLITE_NOTADB; }

  private:
    int code_;
};

class SqliteStatement;

/// A connection. Everything throws SqliteError.
class SqliteDatabase {
  public:
    /// flags: SQLITE_OPEN_READONLY, or SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE.
    SqliteDatabase(const std::filesystem::path& path, int flags);

    void execute(const char* sql);
    SqliteStatement prepare(std::string_view sql);
    /// The first column of the first row; 0 where there is none.
    std::int64_t number(std::string_view sql);
    std::string text(std::string_view sql);
    /// Rows changed by the last statement.
    std::int64_t changes() { return sqlite3_changes64(handle_.get()); }
    /// The file can't be written: SQLite opens it all the same.
    bool is_read_only() { return sqlite3_db_readonly(handle_.get(), "main") == 1; }

    /// From now on commits only append to the write-ahead log, of which wal_pages() tells the length after the last
    /// commit; checkpoint() writes it back, as far as no reader needs it.
    void checkpoint_by_hand();
    int wal_pages() const { return *wal_pages_; }
    void checkpoint();

  private:
    friend class SqliteStatement;
    [[noreturn]] static void fail(sqlite3* handle, int code);
    struct Close {
        void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
    };
    std::unique_ptr<int> wal_pages_ = std::make_unique<int>(0);  // outlives the connection, which writes it
    std::unique_ptr<sqlite3, Close> handle_;
};

class SqliteStatement {
  public:
    /// Positions count from 1.
    SqliteStatement& bind(int position, std::int64_t value);
    /// `value` must live until the next step() is done.
    SqliteStatement& bind(int position, std::string_view value);
    /// False when there is no further row; the statement can then be bound and stepped anew.
    bool step();
    /// Columns count from 0.
    std::int64_t number(int column) { return sqlite3_column_int64(statement_.get(), column); }
    std::string text(int column);

  private:
    friend class SqliteDatabase;
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

}  // namespace chorus
