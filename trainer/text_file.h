#pragma once

#include <filesystem>
#include <string>

namespace chorus {

/// Throws std::runtime_error with one line that begins with the path: unreadable, or larger than 1 GiB.
std::string read_text(const std::filesystem::path& path);

}  // namespace chorus
