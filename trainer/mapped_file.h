#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace chorus {

/// A file's bytes, mapped into memory, read only. They stay when the file is deleted or replaced by another of its
/// name; cutting it short ends the process.
class MappedFile {
  public:
    /// Throws std::runtime_error with one line that begins with the path.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return bytes_; }

  private:
    std::span<const std::byte> bytes_;
};

}  // namespace chorus
