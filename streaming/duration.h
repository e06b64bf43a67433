#pragma once

#include <filesystem>
#include <optional>

namespace chorus {

/// How long a recording lasts, as its container says (an estimate for MP3 without a header); empty for what GStreamer
/// can't read or tell within 2 s. Never throws for a file's sake.
std::optional<double> recording_seconds(const std::filesystem::path& path);

}  // namespace chorus
