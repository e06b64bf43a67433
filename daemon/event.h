#pragma once
// What the world sees of a detection. The message is described by config/schemas/event.schema.json.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "model/detector.h"
#include "streaming/audio_block.h"

namespace chorus {

/// Events of one class on several channels at about the same time, see event_grouper.h.
struct EventGroup {
    std::string id;         // of the group's first event
    std::string strongest;  // of the event with the highest peak so far
    bool operator==(const EventGroup&) const = default;
};

struct Event {
    EventPhase phase = EventPhase::kOpen;
    std::int64_t seq = 0;  // per station, one apart, from 1; 0: not published
    std::string station;
    std::string source;
    std::size_t slot = 0;  // Window::source; two sources in turn may have one name
    std::string file;      // of `detect` only: the recording as named on the command line
    int channel = 0;       // from 0
    std::string code;
    std::string label;  // scientific name
    UtcTime opened{};   // Window::opened
    std::optional<UtcTime> start;
    std::optional<UtcTime> end;
    std::int64_t start_sample = 0;
    std::int64_t end_sample = 0;
    int sample_rate_hz = 0;
    double hop_seconds = 0;  // between windows, at the last of them
    float peak_score = 0;
    double mean_score = 0;
    int windows = 0;
    float threshold = 0;
    std::string model;  // bundle id
    bool clock_synced = false;
    std::optional<double> clock_drift_ppm;  // empty until known
    MonotonicTime sound_received;           // when the last sample this message rests on had arrived
    std::optional<double> latency_ms;
    std::optional<double> prior;      // what hour and month added to the score that opened it, in log-odds
    std::string clip;                 // its sound, below the folder of clips; empty: not kept, or not known yet
    std::optional<EventGroup> group;  // empty where events aren't grouped
};

std::string to_string(EventPhase phase);  // "open", "update", "close"

/// 26 characters of a ULID (Crockford base 32): 48 bits of the start in milliseconds (where it is unknown, of the time
/// its source was opened), then 80 bits of a hash of station, source, channel, code, model, start sample and file. The
/// same event of the same sound has the same id, always; it does not change with the phase.
std::string event_id(const Event& event);

std::string to_json(const Event& event);

/// "event.<station>.<source>.<channel>.<code>"
std::string topic_of(const Event& event);

}  // namespace chorus
