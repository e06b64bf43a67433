#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace chorus {

/// Sound of a data set, kept by its content: AUDIO/HASH/NAME, HASH being the first 16 hex digits of its SHA-256, so
/// that the same sound is there once, under the name it first had.
class AudioShelf {
  public:
    /// `audio`: an existing folder of `dataset`, what paths are told relative to.
    AudioShelf(std::filesystem::path dataset, std::filesystem::path audio)
        : dataset_(std::move(dataset)), audio_(std::move(audio)) {}

    /// Where sound of this content lies, or is to lie, below the data set. Throws std::runtime_error with one line.
    std::filesystem::path place_of(const std::filesystem::path& sound);

    /// Puts it there, by a hard link or else a copy, in the place of what is there; a loss of power before sync() may
    /// leave anything there. Throws as above.
    void put(const std::filesystem::path& sound, const std::filesystem::path& place) const;

    /// Brings all that was put to the disk. Throws as above.
    void sync() const;

  private:
    const std::string& hash_of(const std::filesystem::path& sound);

    std::filesystem::path dataset_;
    std::filesystem::path audio_;
    std::map<std::string, std::string> hashes_;  // by what tells that a file is still the same
};

}  // namespace chorus
