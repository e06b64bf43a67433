#include "trainer/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace chorus {
namespace {

/// The process number in the file.
std::string holder_in(int file) {
    std::array<char, 16> text{};
    const auto size = pread(file, text.data(), text.size(), 0);
    const std::string_view read(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return std::string(read.substr(0, read.find('\n')));
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& path) : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    const auto fail = [&](const std::string& what) {
        if (file_ >= 0) close(file_);
        throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
    };
    if (file_ < 0) fail(std::strerror(errno));
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) fail(fmt::format("held by process {}, which still runs", holder_in(file_)));
        fail(std::strerror(errno));
    }
    const auto holder = fmt::format("{}\n", getpid());
    if (ftruncate(file_, 0) != 0 || pwrite(file_, holder.data(), holder.size(), 0) < 0) fail(std::strerror(errno));
}

RunLock::~RunLock() {
    close(file_);
}

}  // namespace chorus
