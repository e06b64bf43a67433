#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace chorus {

/// A file system of 1 MiB in memory, on `folder`; is_mounted() is false where it may not be made (no root, a
/// container).
class SmallFileSystem {
  public:
    explicit SmallFileSystem(std::filesystem::path folder) : folder_(std::move(folder)) {
        std::filesystem::create_directories(folder_);
        mounted_ = mount("chorus-test", folder_.c_str(), "tmpfs", 0, "size=1M") == 0;
    }
    ~SmallFileSystem() {
        if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
    }
    SmallFileSystem(const SmallFileSystem&) = delete;
    SmallFileSystem& operator=(const SmallFileSystem&) = delete;

    bool is_mounted() const { return mounted_; }
    /// Only while no file is open for writing.
    bool set_read_only(bool read_only) {
        const unsigned long flags = MS_REMOUNT | (read_only ? static_cast<unsigned long>(MS_RDONLY) : 0);
        return mount(nullptr, folder_.c_str(), nullptr, flags, "size=1M") == 0;
    }
    /// Not a byte more can be written to it.
    void fill() {
        std::ofstream ballast(folder_ / "ballast");
        const std::string page(4096, 'x');
        while (ballast.write(page.data(), static_cast<std::streamsize>(page.size())).flush()) {
        }
    }
    void make_room() { std::filesystem::remove(folder_ / "ballast"); }

  private:
    std::filesystem::path folder_;
    bool mounted_ = false;
};

/// Files in the folder can be written but none made, renamed or removed, by nobody; false where that may not be set.
inline bool freeze_folder(const std::filesystem::path& folder, bool frozen) {
    const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flags = 0;
    bool done = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    flags = frozen ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
    done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    if (fd >= 0) close(fd);
    return done;
}

}  // namespace chorus
