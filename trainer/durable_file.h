#pragma once
// Files that a crash, a loss of power or a full disk leaves as they were or as they should be. All throw
// std::runtime_error with one line that begins with the path; what they did is on the disk when they return.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace chorus {

/// A file that is written piece by piece under another name before it takes its own. One thread at a time.
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

/// Written beside `path`, flushed to disk and renamed over it: after a crash there is the old file or the new one.
/// Whom the folder lets in may read it.
void replace_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// The same with the bytes of another file.
void copy_whole(const std::filesystem::path& from, const std::filesystem::path& to);

/// Gives a file a new name, where a file of that name gives way.
void move_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Adds a line, given without its end, to a file of lines. A last line without an end, which a crash cut short, gives
/// way to it.
void append_line(const std::filesystem::path& path, std::string_view line);

/// So that what was renamed in it stays so after a loss of power.
void flush_folder(const std::filesystem::path& folder);

/// All that was written to the file system of this folder.
void flush_file_system(const std::filesystem::path& folder);

}  // namespace chorus
