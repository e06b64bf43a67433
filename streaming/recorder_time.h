#pragma once
// When a recording began, by what its recorder wrote: the file's name and the metadata chunks of a WAV file.

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "streaming/audio_block.h"

namespace chorus {

/// What a recorder's clock showed. Without an offset nobody knows its time zone, and it is taken for UTC.
struct RecorderTime {
    std::chrono::sys_time<std::chrono::microseconds> shown;
    std::optional<std::chrono::minutes> utc_offset;  // east of Greenwich
    UtcTime utc() const { return shown - utc_offset.value_or(std::chrono::minutes(0)); }
    bool operator==(const RecorderTime&) const = default;
};

/// From a file's name without its ending: the last YYYYMMDD, '_', '-' or 'T', HHMMSS that stands for itself (Song
/// Meter, AudioMoth, SWIFT, BAR-LT, AnuraSet), with Z, +HHMM or -HHMM after it where the recorder writes its time zone.
std::optional<RecorderTime> time_in_name(std::string_view stem);

/// From the chunks of a WAV file (RIFF, RF64 or BW64), whichever comes first of: GUANO's Timestamp, Wildlife Acoustics'
/// wamd, AudioMoth's comment "Recorded at ...", the origination time of BEXT. Reads at most 64 KiB of each of at most
/// 256 chunks; whatever is broken says nothing.
std::optional<RecorderTime> time_in_metadata(std::istream& wav);

struct RecordingStart {
    std::optional<UtcTime> utc;
    std::string warning;  // metadata and name disagree by more than 5 s; empty otherwise
};

/// Metadata before name. A file that can't be read has only its name.
RecordingStart recording_start(const std::filesystem::path& path);

}  // namespace chorus
