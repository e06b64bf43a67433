#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "config/secret_file.h"
#include "daemon/commands.h"

namespace chorus {
namespace {

/// A file that wasn't there before; gone again unless it is kept.
class NewFile {
  public:
    NewFile(std::string path, mode_t mode) : path_(std::move(path)) {
        fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd_ < 0) throw_errno();
    }
    ~NewFile() {
        close(fd_);
        if (!kept_) unlink(path_.c_str());
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    void write_all(std::string_view text) const {
        while (!text.empty()) {
            const auto count = write(fd_, text.data(), text.size());
            if (count < 0 && errno != EINTR) throw_errno();
            if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
        }
        if (fsync(fd_) != 0) throw_errno();
    }
    void keep() { kept_ = true; }

  private:
    [[noreturn]] void throw_errno() const {
        throw std::runtime_error(fmt::format("{}: {}", path_, std::generic_category().message(errno)));
    }

    std::string path_;
    int fd_ = -1;
    bool kept_ = false;
};

}  // namespace

int make_keys(const std::string& prefix) {
    const auto pair = make_curve_key_pair();
    NewFile secret(prefix + ".key", S_IRUSR | S_IWUSR);
    NewFile open(prefix + ".pub", S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
    secret.write_all(fmt::format("# a secret key: for nobody else to read\n{}\n", pair.secret_key));
    open.write_all(pair.public_key + "\n");
    std::cout << pair.public_key << std::endl;
    if (!std::cout) throw std::runtime_error("cannot write to standard output");
    secret.keep();
    open.keep();
    return EXIT_SUCCESS;
}

std::optional<CurveClient> read_client_keys(const std::string& server_key, const std::string& key_file) {
    if (server_key.empty()) return std::nullopt;
    const auto text = read_secret_file(key_file);
    try {
        return CurveClient{.server_key = server_key, .keys = parse_secret_key(text)};
    } catch (const std::exception& error) {
        throw std::runtime_error(fmt::format("{}: {}", key_file, error.what()));
    }
}

}  // namespace chorus
