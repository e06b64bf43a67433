#include "config/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace chorus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = 256 << 10;
constexpr std::string_view kCredential = "credential:";

fs::path credentials_directory() {
    const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
    return directory == nullptr ? fs::path() : fs::path(directory);
}

fs::path resolve(const std::string& path) {
    if (path.empty() || path.find('\0') != std::string::npos) throw std::runtime_error("is no file name");
    if (!path.starts_with(kCredential)) return path;
    const auto name = path.substr(kCredential.size());
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) {
        throw std::runtime_error(fmt::format("{}: is no credential's name", path));
    }
    const auto directory = credentials_directory();
    if (directory.empty()) {
        throw std::runtime_error(
            fmt::format("{}: there are no credentials: the unit needs LoadCredential={}:FILE", path, name));
    }
    return directory / name;
}

class Descriptor {
  public:
    // Not blocking, so that a FIFO in the file's place can't make us wait.
    explicit Descriptor(const fs::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (fd_ < 0) throw_errno(path);
    }
    ~Descriptor() { close(fd_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    struct stat status(const fs::path& path) const {
        struct stat status {};
        if (fstat(fd_, &status) != 0) throw_errno(path);
        return status;
    }

    std::string read_all(const fs::path& path) const {
        std::string text;
        std::array<char, 4096> buffer{};
        for (;;) {
            const auto count = read(fd_, buffer.data(), buffer.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) throw_errno(path);
            if (count == 0) return text;
            text.append(buffer.data(), static_cast<std::size_t>(count));
            if (text.size() > kLargestFile) {
                throw std::runtime_error(fmt::format("{}: more than {} bytes", path.string(), kLargestFile));
            }
        }
    }

  private:
    [[noreturn]] static void throw_errno(const fs::path& path) {
        throw std::runtime_error(fmt::format("{}: {}", path.string(), std::generic_category().message(errno)));
    }

    int fd_;
};

void check_privacy(const fs::path& path, const struct stat& status) {
    const auto directory = credentials_directory();
    const bool is_credential = !directory.empty() && path.parent_path() == directory;
    const mode_t forbidden = is_credential ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if ((status.st_mode & forbidden) != 0) {
        throw std::runtime_error(fmt::format("{}: mode {:04o} lets others at a secret: chmod 600 {}", path.string(),
                                             status.st_mode & 07777U, path.string()));
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        throw std::runtime_error(fmt::format("{}: a secret's file must belong to this user or root, not to user {}",
                                             path.string(), status.st_uid));
    }
}

enum class Privacy { kNone, kSecret };

std::string read_file(const std::string& named, Privacy privacy) {
    const auto path = resolve(named);
    const Descriptor file(path);
    const auto status = file.status(path);
    if (!S_ISREG(status.st_mode)) throw std::runtime_error(fmt::format("{}: is not a regular file", path.string()));
    if (privacy == Privacy::kSecret) check_privacy(path, status);
    return file.read_all(path);
}

}  // namespace

std::string read_listed_file(const std::string& path) {
    return read_file(path, Privacy::kNone);
}

std::string read_secret_file(const std::string& path) {
    return read_file(path, Privacy::kSecret);
}

std::string read_password_file(const std::string& path) {
    auto text = read_secret_file(path);
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    if (text.empty() || text.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
        throw std::runtime_error(fmt::format("{}: must be one line with the password", path));
    }
    return text;
}

}  // namespace chorus
