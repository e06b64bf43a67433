#include "trainer/durable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

namespace chorus {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path) {
    throw std::runtime_error(fmt::format("{}: {}", path.string(), std::system_category().message(errno)));
}

void write_all(int descriptor, std::span<const std::byte> bytes, const fs::path& path) {
    while (!bytes.empty()) {
        const auto written = ::write(descriptor, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail(path);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

class File {
  public:
    File(const fs::path& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
        if (fd_ < 0) fail(path_);
    }
    ~File() { ::close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    /// Bytes read; 0 at the end.
    std::size_t read(std::span<std::byte> bytes) const {
        const auto got = ::read(fd_, bytes.data(), bytes.size());
        if (got < 0) fail(path_);
        return static_cast<std::size_t>(got);
    }
    void write(std::span<const std::byte> bytes) const { write_all(fd_, bytes, path_); }
    void flush() const {
        if (::fsync(fd_) != 0) fail(path_);
    }
    void flush_file_system() const {
        if (::syncfs(fd_) != 0) fail(path_);
    }

    /// Cuts what follows the last line's end, and stands there.
    void cut_to_last_line() const {
        std::array<char, 4096> block{};
        auto end = ::lseek(fd_, 0, SEEK_END);
        if (end < 0) fail(path_);
        while (end > 0) {
            const auto from = std::max<off_t>(0, end - static_cast<off_t>(block.size()));
            const auto got = ::pread(fd_, block.data(), static_cast<std::size_t>(end - from), from);
            if (got != end - from) fail(path_);
            const auto line_end = std::string_view(block.data(), static_cast<std::size_t>(got)).rfind('\n');
            end = line_end == std::string_view::npos ? from : from + static_cast<off_t>(line_end) + 1;
            if (line_end != std::string_view::npos) break;
        }
        if (::ftruncate(fd_, end) != 0 || ::lseek(fd_, end, SEEK_SET) != end) fail(path_);
    }

  private:
    fs::path path_;
    int fd_;
};

fs::path folder_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

DurableFile::DurableFile(fs::path beside)
    : beside_(std::move(beside)), descriptor_(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) fail(beside_);
}

DurableFile::~DurableFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(beside_.c_str());
}

void DurableFile::write(std::span<const std::byte> bytes) {
    write_all(descriptor_, bytes, beside_);
}

void DurableFile::keep(const fs::path& path) {
    if (::fchmod(descriptor_, 0644) != 0 || ::fsync(descriptor_) != 0) fail(path);
    move_file(beside_, path);
    ::close(std::exchange(descriptor_, -1));
}

void replace_file(const fs::path& path, std::span<const std::byte> bytes) {
    DurableFile file(path.string() + ".new");
    file.write(bytes);
    file.keep(path);
}

void copy_whole(const fs::path& from, const fs::path& to) {
    DurableFile copy(to.string() + ".new");
    const File original(from, O_RDONLY);
    std::vector<std::byte> block(1 << 18);
    while (const auto got = original.read(block)) copy.write(std::span(block).first(got));
    copy.keep(to);
}

void move_file(const fs::path& from, const fs::path& to) {
    if (std::rename(from.c_str(), to.c_str()) != 0) fail(to);
    flush_folder(folder_of(to));
    if (folder_of(from) != folder_of(to)) flush_folder(folder_of(from));
}

void append_line(const fs::path& path, std::string_view line) {
    const bool is_new = !fs::exists(path);
    const File file(path, O_RDWR | O_CREAT);
    file.cut_to_last_line();
    std::string text(line);
    text += '\n';
    file.write(std::as_bytes(std::span(text)));
    file.flush();
    if (is_new) flush_folder(folder_of(path));
}

void flush_folder(const fs::path& folder) {
    File(folder.empty() ? "." : folder, O_RDONLY | O_DIRECTORY).flush();
}

void flush_file_system(const fs::path& folder) {
    File(folder, O_RDONLY | O_DIRECTORY).flush_file_system();
}

}  // namespace chorus
