#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace chorus {

/// A file system of a few MiB of its own, as root can make one.
class SmallDisk {
  public:
    enum class Kind { kMemory, kExt4 };

    /// Mounts it on `folder`; throws std::runtime_error where that is not allowed (no root, a container).
    SmallDisk(Kind kind, const std::filesystem::path& folder);
    ~SmallDisk();
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    const std::filesystem::path& folder() const { return folder_; }

    /// Not a byte more can be written to it.
    void fill();
    void make_room();
    /// What the kernel does to an ext4 on which it met an error: no write succeeds from now on, whatever is open.
    void turn_read_only();
    /// Mounted so that nothing can be written, or again so that it can; while no file of it is open for writing.
    void set_read_only(bool read_only);
    /// Checked and mounted anew, as after a restart of the machine.
    void repair();

  private:
    std::string run(const std::vector<std::string>& command) const;
    void mount() const;
    void unmount() const;

    Kind kind_;
    std::filesystem::path folder_;
    std::filesystem::path image_;
};

/// One in memory on `folder`; null where that is not allowed.
std::unique_ptr<SmallDisk> small_disk(const std::filesystem::path& folder);

}  // namespace chorus
