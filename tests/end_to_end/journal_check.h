#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

namespace chorus {

struct JournalSummary {
    std::int64_t rows = 0;
    int unfinished = 0;  // events that are not closed
};

/// Fails the test unless the journal of a station at rest holds every event from seq `first` on once, with no hole, the
/// phases of each event in order, and what a subscriber has seen (bodies by seq) word for word. Reads a copy, so that
/// the journal stays as it was left.
JournalSummary expect_journal_holds(const std::filesystem::path& journal, const std::filesystem::path& copy,
                                    const std::map<std::int64_t, nlohmann::json>& seen, std::int64_t first);

}  // namespace chorus
