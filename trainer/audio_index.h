#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

/// The recordings of a folder and those below it, by what label files call them. Links to folders aren't followed.
class AudioIndex {
  public:
    /// Throws std::runtime_error for a folder that can't be read.
    explicit AudioIndex(const std::filesystem::path& folder);

    /// Of a path within the folder or its audio/, else the one of this file name anywhere in it. Throws
    /// std::runtime_error with the reason: it leads elsewhere, there is none, or there are several.
    const std::filesystem::path& by_name(std::string_view name) const;
    /// The same, null where there is none.
    const std::filesystem::path* find_name(std::string_view name) const;

    /// The recording whose name without ending is `stem`: the one in `folder`, else the only one anywhere. Throws as
    /// by_name() does.
    const std::filesystem::path& by_stem(std::string_view stem, const std::filesystem::path& folder) const;
    const std::filesystem::path* find_stem(std::string_view stem, const std::filesystem::path& folder) const;

    const std::vector<std::filesystem::path>& files() const { return files_; }  // sorted

  private:
    std::filesystem::path folder_;
    std::vector<std::filesystem::path> files_;
    std::map<std::string, std::vector<std::size_t>, std::less<>> by_stem_;
    std::map<std::string, std::vector<std::size_t>, std::less<>> by_file_name_;
};

/// By a file's ending: what libsndfile may read.
bool has_audio_ending(const std::filesystem::path& path);

}  // namespace chorus
