#include "daemon/sqlite.h"

namespace chorus {

void SqliteDatabase::fail(sqlite3* handle, int code) {
    throw SqliteError(code, handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code));
}

SqliteDatabase::SqliteDatabase(const std::filesystem::path& path, int flags) {
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
    handle_.reset(handle);
    if (code != SQLITE_OK) fail(handle, code);
    sqlite3_busy_timeout(handle, 1000);
}

void SqliteDatabase::execute(const char* sql) {
    const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) fail(handle_.get(), code);
}

SqliteStatement SqliteDatabase::prepare(std::string_view sql) {
    sqlite3_stmt* made = nullptr;
    const int code = sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &made, nullptr);
    SqliteStatement statement;
    statement.statement_.reset(made);
    if (code != SQLITE_OK) fail(handle_.get(), code);
    return statement;
}

std::int64_t SqliteDatabase::number(std::string_view sql) {
    auto statement = prepare(sql);
    return statement.step() ? statement.number(0) : 0;
}

std::string SqliteDatabase::text(std::string_view sql) {
    auto statement = prepare(sql);
    return statement.step() ? statement.text(0) : "";
}

void SqliteDatabase::checkpoint_by_hand() {
    const auto note = [](void* pages, sqlite3*, const char*, int count) {
        *static_cast<int*>(pages) = count;
        return SQLITE_OK;
    };
    sqlite3_wal_hook(handle_.get(), note, wal_pages_.get());  // in the place of the automatic one
}

void SqliteDatabase::checkpoint() {
    const int code = sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    if (code != SQLITE_OK) fail(handle_.get(), code);
    *wal_pages_ = 0;
}

SqliteStatement& SqliteStatement::bind(int position, std::int64_t value) {
    sqlite3_bind_int64(statement_.get(), position, value);
    return *this;
}

SqliteStatement& SqliteStatement::bind(int position, std::string_view value) {
    sqlite3_bind_text64(statement_.get(), position, value.data(), value.size(), SQLITE_STATIC, SQLITE_UTF8);
    return *this;
}

bool SqliteStatement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    sqlite3_reset(statement_.get());
    if (code != SQLITE_DONE) SqliteDatabase::fail(sqlite3_db_handle(statement_.get()), code);
    return false;
}

std::string SqliteStatement::text(int column) {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
    return data == nullptr
               ? ""
               : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

}  // namespace chorus
