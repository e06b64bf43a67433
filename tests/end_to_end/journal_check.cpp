#include "tests/end_to_end/journal_check.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>
#include <string>
#include <vector>

namespace chorus {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Row {
    std::int64_t seq = 0;
    std::string topic;
    std::string body;
};

std::string text(sqlite3_stmt* statement, int column) {
    const auto* const value = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
    return value == nullptr ? "" : value;
}

std::vector<Row> read_rows(const fs::path& path) {
    sqlite3* raw = nullptr;
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK) << path;
    const std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database(raw, sqlite3_close);
    const auto run = [&](const char* sql, auto each) {
        sqlite3_stmt* statement = nullptr;
        EXPECT_EQ(sqlite3_prepare_v2(raw, sql, -1, &statement, nullptr), SQLITE_OK) << sqlite3_errmsg(raw);
        while (sqlite3_step(statement) == SQLITE_ROW) each(statement);
        EXPECT_EQ(sqlite3_finalize(statement), SQLITE_OK) << sqlite3_errmsg(raw);
    };
    run("PRAGMA integrity_check", [](sqlite3_stmt* row) { EXPECT_EQ(text(row, 0), "ok"); });
    std::vector<Row> rows;
    run("SELECT seq, topic, body FROM events ORDER BY seq", [&](sqlite3_stmt* row) {
        rows.push_back({sqlite3_column_int64(row, 0), text(row, 1), text(row, 2)});
    });
    return rows;
}

}  // namespace

JournalSummary expect_journal_holds(const fs::path& journal, const fs::path& copy,
                                    const std::map<std::int64_t, json>& seen, std::int64_t first) {
    for (const char* suffix : {"", "-wal"}) {
        fs::remove(copy.string() + suffix);
        if (fs::exists(journal.string() + suffix)) fs::copy_file(journal.string() + suffix, copy.string() + suffix);
    }
    const auto rows = read_rows(copy);
    std::map<std::string, json> last_of;  // by the event's id
    std::map<std::int64_t, json> kept;
    std::int64_t expected = rows.empty() ? 0 : rows.front().seq;
    if (first == 1 && !rows.empty()) {
        EXPECT_EQ(expected, 1) << "the first event of all has seq 1";
    }
    for (const auto& row : rows) {
        EXPECT_EQ(row.seq, expected++) << "a hole or a double in seq";
        const auto body = json::parse(row.body);
        EXPECT_EQ(body["seq"], row.seq);
        const auto id = body["id"].get<std::string>();
        const auto before = last_of.find(id);
        if (before == last_of.end()) {
            EXPECT_EQ(body["phase"], "open") << row.body;
        } else {
            EXPECT_NE(body["phase"], "open") << row.body;
            EXPECT_NE(before->second["phase"], "close") << row.body;
            const auto grown =
                body["end_sample"].get<std::int64_t>() - before->second["end_sample"].get<std::int64_t>();
            EXPECT_GE(grown, body["phase"] == "update" ? 1 : 0) << row.body;
            EXPECT_EQ(body["start"], before->second["start"]) << row.body;
            if (body["end"].is_string()) {
                EXPECT_GE(body["end"].get<std::string>(), before->second["end"].get<std::string>()) << row.body;
            }
        }
        last_of[id] = body;
        kept[row.seq] = body;
    }
    for (auto at = seen.lower_bound(first); at != seen.end(); ++at) {
        const auto found = kept.find(at->first);
        if (found == kept.end()) {
            ADD_FAILURE() << "published and not in the journal: " << at->second.dump();
        } else {
            EXPECT_EQ(found->second, at->second);
        }
    }
    JournalSummary summary{.rows = std::ssize(rows)};
    for (const auto& [id, event] : last_of) summary.unfinished += event["phase"] == "close" ? 0 : 1;
    return summary;
}

}  // namespace chorus
