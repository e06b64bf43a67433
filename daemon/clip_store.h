#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <string>

#include "daemon/sound_memory.h"
#include "streaming/audio_block.h"

namespace chorus {

/// What a clip's file tells besides its sound; goes into its Vorbis comments.
struct ClipTags {
    std::string title;
    std::string artist;   // station, source and channel
    std::string date;     // UTC of the first sample, ISO 8601; empty if unknown
    std::string comment;  // JSON
};

/// The folder of clips, FOLDER/GROUP/NAME.flac with a group for each class, within a budget of bytes. What gives way
/// first is the oldest clip of the group that takes most room, so that the rarest stay longest. A clip NAME.flac beside
/// which lies a file NAME.flac.lock, or that its owner may not write, is never removed; one that is hard-linked
/// elsewhere doesn't go where the disk is short, which it wouldn't help. People may remove clips at any time. One
/// thread.
class ClipStore {
  public:
    struct Limits {
        std::int64_t max_bytes;
        std::int64_t min_free_bytes;  // of the file system
    };

    /// Touches nothing before the first write.
    ClipStore(std::filesystem::path folder, Limits limits) : folder_(std::move(folder)), limits_(limits) {}

    /// Writes FOLDER/PATH.flac (path: GROUP/NAME), whole or not at all, after making room for it; where there is one,
    /// FOLDER/PATH_2.flac and so on. Throws std::runtime_error when that can't be: the disk is full or read-only, or
    /// what is there is locked.
    void write(const std::string& path, const Sound& sound, const ClipTags& tags);

    std::int64_t bytes() const { return bytes_; }

  private:
    struct Clip {
        std::filesystem::path path;
        std::filesystem::file_time_type written;
        std::int64_t bytes;
    };
    struct Group {
        std::list<Clip> clips;  // oldest first
        std::int64_t bytes = 0;
    };

    enum class For { kBudget, kDisk };  // what a clip goes for

    std::filesystem::path free_path(const std::string& wanted) const;
    void scan();
    void make_room(std::int64_t bytes);
    static bool may_go(const Clip& clip, For purpose);
    bool can_free(std::int64_t bytes) const;
    bool remove_one(For purpose);
    std::int64_t free_bytes() const;

    const std::filesystem::path folder_;
    const Limits limits_;
    std::chrono::steady_clock::time_point scanned_{};
    std::map<std::string, Group> groups_;
    std::int64_t bytes_ = 0;
};

}  // namespace chorus
