#include "trainer/audio_shelf.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "model/bundle.h"
#include "trainer/audio_index.h"
#include "trainer/durable_file.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHashDigits = 16;

[[noreturn]] void fail(const fs::path& path, int error) {
    throw std::runtime_error(fmt::format("{}: {}", path.string(), std::system_category().message(error)));
}

/// Changes with the file: its place on the disk, size and times.
std::string identity_of(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) fail(path, errno);
    return fmt::format("{} {} {} {} {}", status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                       status.st_mtim.tv_nsec);
}

}  // namespace

const std::string& AudioShelf::hash_of(const fs::path& sound) {
    auto& hash = hashes_[identity_of(sound)];
    if (hash.empty()) hash = sha256_hex_of_file(sound).substr(0, kHashDigits);
    return hash;
}

fs::path AudioShelf::place_of(const fs::path& sound) {
    const auto folder = audio_ / hash_of(sound);
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
        if (has_audio_ending(entry.path())) return entry.path().lexically_relative(dataset_);
    return (folder / sound.filename()).lexically_relative(dataset_);
}

void AudioShelf::put(const fs::path& sound, const fs::path& place) const {
    const auto target = dataset_ / place;
    const auto folder = target.parent_path();
    std::error_code error;
    fs::create_directory(folder, error);
    if (error) fail(folder, error.value());
    if (fs::equivalent(sound, target, error)) return;
    fs::remove(target, error);
    if (::linkat(AT_FDCWD, sound.c_str(), AT_FDCWD, target.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    // Of another file system, or of someone else's whose links are not for us.
    copy_whole(sound, target);
}

void AudioShelf::sync() const {
    flush_file_system(audio_);
}

}  // namespace chorus
