#include "trainer/text_file.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace chorus {

std::string read_text(const std::filesystem::path& path) {
    constexpr std::uintmax_t kMaxBytes = std::uintmax_t{1} << 30;
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) throw std::runtime_error(fmt::format("{}: {}", path.string(), error.message()));
    if (size > kMaxBytes)
        throw std::runtime_error(fmt::format("{}: {} bytes, more than {}", path.string(), size, kMaxBytes));
    std::ifstream file(path, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(file), {});
    if (!file) throw std::runtime_error(fmt::format("{}: cannot be read", path.string()));
    return text;
}

std::string utc_now() {
    return fmt::format("{:%FT%TZ}", std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
}

}  // namespace chorus
