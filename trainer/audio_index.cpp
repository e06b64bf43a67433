#include "trainer/audio_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <stdexcept>

namespace chorus {
namespace {

constexpr std::array<std::string_view, 14> kEndings = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3",
                                                       ".aif", ".aiff", ".aifc", ".au",  ".caf", ".w64",  ".rf64"};

bool leads_elsewhere(const std::filesystem::path& path) {
    return path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
}

}  // namespace

bool has_audio_ending(const std::filesystem::path& path) {
    auto ending = path.extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

AudioIndex::AudioIndex(const std::filesystem::path& folder) : folder_(folder) {
    std::error_code error;
    for (auto entry = std::filesystem::recursive_directory_iterator(folder, error);
         !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
        if (has_audio_ending(entry->path()) && entry->is_regular_file()) files_.push_back(entry->path());
    }
    if (error) throw std::runtime_error(fmt::format("{}: {}", folder.string(), error.message()));
    std::sort(files_.begin(), files_.end());
    for (std::size_t i = 0; i < files_.size(); ++i) {
        by_stem_[files_[i].stem().string()].push_back(i);
        by_file_name_[files_[i].filename().string()].push_back(i);
    }
}

const std::filesystem::path* AudioIndex::find_name(std::string_view name) const {
    const std::filesystem::path path(name);
    if (leads_elsewhere(path)) throw std::runtime_error(fmt::format("'{}' leads out of the data set", name));
    for (const auto& place : {folder_ / path, folder_ / "audio" / path}) {
        const auto found = std::lower_bound(files_.begin(), files_.end(), place);
        if (found != files_.end() && *found == place) return &*found;
    }
    const auto found = by_file_name_.find(path.filename().string());
    if (found == by_file_name_.end()) return nullptr;
    if (found->second.size() > 1)
        throw std::runtime_error(fmt::format("{} recordings are called '{}'", found->second.size(), name));
    return &files_[found->second.front()];
}

const std::filesystem::path* AudioIndex::find_stem(std::string_view stem, const std::filesystem::path& folder) const {
    const auto found = by_stem_.find(stem);
    if (found == by_stem_.end()) return nullptr;
    std::vector<std::size_t> beside;
    for (const auto i : found->second)
        if (files_[i].parent_path() == folder) beside.push_back(i);
    const auto& candidates = beside.empty() ? found->second : beside;
    if (candidates.size() > 1)
        throw std::runtime_error(fmt::format("{} recordings are called '{}'", candidates.size(), stem));
    return &files_[candidates.front()];
}

const std::filesystem::path& AudioIndex::by_name(std::string_view name) const {
    const auto* found = find_name(name);
    if (found == nullptr) throw std::runtime_error(fmt::format("no recording '{}'", name));
    return *found;
}

const std::filesystem::path& AudioIndex::by_stem(std::string_view stem, const std::filesystem::path& folder) const {
    const auto* found = find_stem(stem, folder);
    if (found == nullptr) throw std::runtime_error(fmt::format("no recording '{}'", stem));
    return *found;
}

}  // namespace chorus
