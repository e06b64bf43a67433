#pragma once

#include <filesystem>
#include <string>

namespace chorus {

/// Throws std::runtime_error with one line that begins with the path: unreadable, or larger than 1 GiB.
std::string read_text(const std::filesystem::path& path);

/// Now, as the histories have it: "2026-11-23T02:14:07Z".
std::string utc_now();

}  // namespace chorus
