#include "trainer/durable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace chorus {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path) {
    throw std::runtime_error(fmt::format("{}: {}", path.string(), std::strerror(errno)));
}

}  // namespace

DurableFile::DurableFile(std::filesystem::path beside)
    : beside_(std::move(beside)), descriptor_(open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) fail(beside_);
}

DurableFile::~DurableFile() {
    if (descriptor_ < 0) return;
    close(descriptor_);
    unlink(beside_.c_str());
}

void DurableFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) fail(beside_);
        if (written > 0) bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void DurableFile::keep(const std::filesystem::path& path) {
    if (fsync(descriptor_) != 0 || rename(beside_.c_str(), path.c_str()) != 0) fail(path);
    close(std::exchange(descriptor_, -1));
}

void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    DurableFile file(path.string() + ".new");
    file.write(bytes);
    file.keep(path);
}

}  // namespace chorus
