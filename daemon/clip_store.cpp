#include "daemon/clip_store.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace chorus {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kScanEvery = 10min;  // people and other programs remove clips, too
constexpr const char* kUnfinished = ".part";

bool is_locked(const fs::path& clip) {
    std::error_code error;
    if (fs::exists(clip.string() + ".lock", error)) return true;
    const auto permissions = fs::status(clip, error).permissions();
    return !error && (permissions & fs::perms::owner_write) == fs::perms::none;
}

// Whether its removal gives anything back to the disk: not where the file has another name, too, as in a data set.
bool frees_disk(const fs::path& clip) {
    std::error_code error;
    return fs::hard_link_count(clip, error) == 1;
}

void write_flac(const fs::path& path, const Sound& sound, const ClipTags& tags) {
    SF_INFO info{};
    info.samplerate = sound.sample_rate_hz;
    info.channels = 1;
    info.format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
    const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path.c_str(), SFM_WRITE, &info), &sf_close);
    if (!file) throw std::runtime_error(fmt::format("{}: {}", path.string(), sf_strerror(nullptr)));
    sf_set_string(file.get(), SF_STR_TITLE, tags.title.c_str());
    sf_set_string(file.get(), SF_STR_ARTIST, tags.artist.c_str());
    if (!tags.date.empty()) sf_set_string(file.get(), SF_STR_DATE, tags.date.c_str());
    sf_set_string(file.get(), SF_STR_COMMENT, tags.comment.c_str());
    sf_set_string(file.get(), SF_STR_SOFTWARE, "Chorus " CHORUS_VERSION);
    const auto frames = static_cast<sf_count_t>(sound.samples.size());
    if (sf_writef_short(file.get(), sound.samples.data(), frames) != frames)
        throw std::runtime_error(fmt::format("{}: {}", path.string(), sf_strerror(file.get())));
}

// libsndfile doesn't say that the last bytes didn't fit.
void check_whole(const fs::path& path, const Sound& sound) {
    SF_INFO info{};
    const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path.c_str(), SFM_READ, &info), &sf_close);
    std::vector<std::int16_t> samples(sound.samples.size());
    const auto frames = static_cast<sf_count_t>(samples.size());
    if (!file || sf_readf_short(file.get(), samples.data(), frames) != frames || samples != sound.samples)
        throw std::runtime_error(fmt::format("{}: could not be written whole", path.string()));
}

}  // namespace

void ClipStore::write(const std::string& wanted, const Sound& sound, const ClipTags& tags) {
    const auto path = free_path(wanted);
    const auto group = path.parent_path().lexically_relative(folder_).string();
    const auto part = fs::path(path.string() + kUnfinished);
    fs::create_directories(path.parent_path());
    if (std::chrono::steady_clock::now() - scanned_ > kScanEvery) scan();
    make_room(static_cast<std::int64_t>(sound.samples.size()) * 2);  // before it is packed: an upper bound
    try {
        write_flac(part, sound, tags);
        check_whole(part, sound);
        fs::rename(part, path);
    } catch (...) {
        std::error_code ignored;
        fs::remove(part, ignored);
        throw;
    }
    const auto bytes = static_cast<std::int64_t>(fs::file_size(path));
    auto& its = groups_[group];
    its.clips.push_back({path, fs::last_write_time(path), bytes});
    its.bytes += bytes;
    bytes_ += bytes;
}

// PATH.flac; where there is such a clip, PATH_2.flac and so on.
fs::path ClipStore::free_path(const std::string& wanted) const {
    auto path = folder_ / (wanted + ".flac");
    for (int number = 2; fs::exists(path); ++number) path = folder_ / fmt::format("{}_{}.flac", wanted, number);
    return path;
}

// What is there now; what a crash left unfinished goes.
void ClipStore::scan() {
    groups_.clear();
    bytes_ = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
        std::error_code error;
        if (!entry.is_regular_file(error)) continue;
        if (entry.path().string().ends_with(std::string(".flac") + kUnfinished)) fs::remove(entry.path(), error);
        if (entry.path().extension() != ".flac") continue;
        const auto size = entry.file_size(error);
        const auto written = error ? fs::file_time_type() : entry.last_write_time(error);
        if (error) continue;  // gone meanwhile
        auto& group = groups_[entry.path().parent_path().lexically_relative(folder_).string()];
        group.clips.push_back({entry.path(), written, static_cast<std::int64_t>(size)});
        group.bytes += static_cast<std::int64_t>(size);
        bytes_ += static_cast<std::int64_t>(size);
    }
    for (auto& [name, group] : groups_)
        group.clips.sort([](const Clip& a, const Clip& b) { return a.written < b.written; });
    scanned_ = std::chrono::steady_clock::now();
}

std::int64_t ClipStore::free_bytes() const {
    return static_cast<std::int64_t>(fs::space(folder_).available);
}

void ClipStore::make_room(std::int64_t bytes) {
    while (bytes_ + bytes > limits_.max_bytes) {
        if (!remove_one(For::kBudget))
            throw std::runtime_error(fmt::format("{}: all that the budget holds is locked", folder_.string()));
    }
    for (std::int64_t missing = 0; (missing = limits_.min_free_bytes + bytes - free_bytes()) > 0;) {
        // Where all of them wouldn't do, as something else fills the disk, none goes for nothing.
        if (!can_free(missing) || !remove_one(For::kDisk))
            throw std::runtime_error(fmt::format("{}: too little of the disk is free", folder_.string()));
    }
}

bool ClipStore::may_go(const Clip& clip, For purpose) {
    return !is_locked(clip.path) && (purpose == For::kBudget || frees_disk(clip.path));
}

// Whether the disk would have so many bytes more without the clips that may go.
bool ClipStore::can_free(std::int64_t bytes) const {
    for (const auto& [name, group] : groups_) {
        for (const auto& clip : group.clips) {
            if (may_go(clip, For::kDisk)) bytes -= clip.bytes;
            if (bytes <= 0) return true;
        }
    }
    return false;
}

// False when there is none that may go.
bool ClipStore::remove_one(For purpose) {
    std::vector<Group*> by_size;
    for (auto& [name, group] : groups_) by_size.push_back(&group);
    std::sort(by_size.begin(), by_size.end(), [](const Group* a, const Group* b) { return a->bytes > b->bytes; });
    for (Group* group : by_size) {
        const auto oldest = std::find_if(group->clips.begin(), group->clips.end(),
                                         [&](const Clip& clip) { return may_go(clip, purpose); });
        if (oldest == group->clips.end()) continue;
        fs::remove(oldest->path);
        group->bytes -= oldest->bytes;
        bytes_ -= oldest->bytes;
        group->clips.erase(oldest);
        return true;
    }
    return false;
}

}  // namespace chorus
