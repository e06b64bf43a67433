#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace chorus {

using UtcTime = std::chrono::sys_time<std::chrono::microseconds>;
using MonotonicTime = std::chrono::steady_clock::time_point;

/// A stretch of sound as it came from a source. Positions are sample indices: per source, counted from its first
/// sample, at the source's own rate, lost samples included.
struct AudioBlock {
    std::int64_t first_sample = 0;
    int sample_rate_hz = 0;
    int channels = 0;
    std::vector<float> samples;           // [frame, channel], nominally -1..1
    std::optional<UtcTime> capture_time;  // of first_sample, from the source's clock; empty when nothing knows
    bool sender_time = false;             // capture_time is what the stream's sender says, not what this machine does
    bool dated_by_arrival = false;        // capture_time is when it came here: the sound was then or earlier
    MonotonicTime received;               // when the block's last sample had arrived here

    std::int64_t frames() const { return channels == 0 ? 0 : static_cast<std::int64_t>(samples.size()) / channels; }
};

/// Sound was lost: the index jumps by `samples` (an estimate where `known` is false). The next block begins after it.
struct Gap {
    std::int64_t samples = 0;
    int sample_rate_hz = 0;
    bool known = true;
    std::string reason;  // a word for metrics: "lost", "reconnect", "format"
};

struct EndOfStream {};

/// Nothing arrived within the time asked for.
struct NothingYet {};

using SourceItem = std::variant<AudioBlock, Gap, EndOfStream, NothingYet>;

}  // namespace chorus
