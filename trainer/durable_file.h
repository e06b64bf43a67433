#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace chorus {

/// A file that is written under another name and flushed to disk before it takes its own: after a crash there is what
/// was there before, or the new file, whole. One thread at a time. All throw std::runtime_error with one line that
/// begins with the path.
class DurableFile {
  public:
    /// `beside` is its name until it is kept, in the folder where it will lie.
    explicit DurableFile(std::filesystem::path beside);
    /// Leaves nothing of a file that wasn't kept.
    ~DurableFile();
    DurableFile(const DurableFile&) = delete;
    DurableFile& operator=(const DurableFile&) = delete;

    /// Where it lies until it is kept.
    const std::filesystem::path& path() const { return beside_; }

    void write(std::span<const std::byte> bytes);
    /// Takes the place of any file at `path`. Nothing can be written after it.
    void keep(const std::filesystem::path& path);

  private:
    std::filesystem::path beside_;
    int descriptor_;
};

/// At once; its name meanwhile is `path` with ".new" after it.
void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace chorus
