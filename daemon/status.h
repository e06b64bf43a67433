#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/source_runner.h"
#include "streaming/audio_block.h"

namespace chorus {

/// The model that a station uses.
struct ModelStatus {
    std::string id;
    std::string shadow;  // id of the candidate in its shadow; empty: none
    std::string fault;   // why what the configuration names is not in use; empty: it is
};

/// What a status message tells of a station: config/schemas/status.schema.json.
struct StationStatus {
    std::string station;
    UtcTime time;
    std::int64_t seq = 0;  // of the last event published
    ModelStatus model;
    std::size_t events_waiting = 0;   // for the journal
    std::int64_t events_dropped = 0;  // since the start: more than may wait
    std::string journal_fault;        // empty while it can be written
    std::vector<SourceReport> sources;
};

/// The message's body.
std::string to_json(const StationStatus& status);

}  // namespace chorus
