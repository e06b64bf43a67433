#include "daemon/model_loader.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "config/program.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kSettle = 100ms;    // `ln -sfn` removes the link before it makes the new one
constexpr int kMostSettling = 20;  // changes that follow one another
constexpr int kMostLinks = 16;
constexpr std::uint32_t kEvents =
    IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_DELETE_SELF;

// Which file it is, and which state of it; empty where there is none.
std::string identity(const fs::path& path) {
    struct stat info {};
    if (path.empty() || stat(path.c_str(), &info) != 0) return "";
    return fmt::format("{}:{}:{}:{}.{:09}", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                       info.st_mtim.tv_nsec);
}

// The folders of the path and of the links it leads over.
std::set<fs::path> folders_of(fs::path path) {
    std::set<fs::path> folders;
    std::error_code error;
    for (int links = 0; links < kMostLinks && !path.empty(); ++links) {
        const auto folder = fs::absolute(path, error).parent_path();
        folders.insert(folder);
        if (!fs::is_symlink(path, error)) break;
        path = folder / fs::read_symlink(path, error);
    }
    return folders;
}

}  // namespace

/// Waits for changes in folders, or to be woken.
class ModelLoader::Watch {
  public:
    Watch() : inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        if (inotify_ < 0 || wake_ < 0)
            spdlog::warn("model: changes can't be watched, they are seen later: {}", std::strerror(errno));
    }
    ~Watch() {
        if (inotify_ >= 0) close(inotify_);
        if (wake_ >= 0) close(wake_);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void wake() const {
        const std::uint64_t one = 1;
        // Nothing to be done where it fails: it is awake already then.
        if (write(wake_, &one, sizeof one) < 0) return;
    }

    /// From now on these folders alone, as far as they are there.
    void watch(const std::set<fs::path>& folders) {
        std::map<int, fs::path> now;
        for (const auto& folder : folders) {
            const int number = inotify_add_watch(inotify_, folder.c_str(), kEvents | IN_ONLYDIR);
            if (number >= 0) now[number] = folder;
        }
        for (const auto& [number, folder] : std::exchange(watched_, std::move(now))) {
            if (!watched_.contains(number)) inotify_rm_watch(inotify_, number);
        }
    }

    /// Waits for a change or a wake, at most so long; then until nothing has changed for a moment. False: time is over.
    bool wait(std::chrono::milliseconds longest) {
        pollfd files[] = {{.fd = inotify_, .events = POLLIN, .revents = 0},
                          {.fd = wake_, .events = POLLIN, .revents = 0}};
        for (bool changed = false; !changed;) {
            if (poll(files, 2, static_cast<int>(longest.count())) <= 0) return false;
            std::uint64_t count = 0;
            if (read(wake_, &count, sizeof count) > 0) return true;
            changed = take_changes();
        }
        for (int i = 0; i < kMostSettling; ++i) {
            if (poll(files, 2, static_cast<int>(kSettle.count())) <= 0 || files[1].revents != 0) break;
            take_changes();
        }
        return true;
    }

  private:
    // Whether one is worth a look: a new file is looked at once it has been written.
    bool take_changes() {
        alignas(inotify_event) char buffer[4096];
        bool worth = false;
        for (ssize_t size = 0; (size = read(inotify_, buffer, sizeof buffer)) > 0;) {
            for (const char* at = buffer; at < buffer + size;) {
                const auto& event = *reinterpret_cast<const inotify_event*>(at);
                at += sizeof event + event.len;
                if ((event.mask & IN_IGNORED) != 0) continue;  // a watch has ended
                const auto folder = watched_.find(event.wd);
                std::error_code error;
                const bool begun = (event.mask & IN_CREATE) != 0 && event.len > 0 && folder != watched_.end() &&
                                   !fs::is_symlink(folder->second / event.name, error);
                worth = worth || !begun;
            }
        }
        return worth;
    }

    const int inotify_;
    const int wake_;
    std::map<int, fs::path> watched_;
};

ModelLoader::ModelLoader(const std::string& name, fs::path path, std::string known, Make make,
                         std::chrono::milliseconds look_every)
    : make_(std::move(make)),
      look_every_(look_every),
      watch_(std::make_unique<Watch>()),
      path_(std::move(path)),
      known_(std::move(known)),
      thread_([this, name](const std::stop_token& stop) {
          name_this_thread(name);
          run(stop);
      }) {}

ModelLoader::~ModelLoader() {
    thread_.request_stop();
    watch_->wake();
}

void ModelLoader::look(fs::path path, std::string known) {
    {
        const std::lock_guard lock(mutex_);
        path_ = std::move(path);
        known_ = std::move(known);
        asked_ = true;
    }
    watch_->wake();
}

std::vector<ModelFinding> ModelLoader::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(findings_, {});
}

void ModelLoader::run(const std::stop_token& stop) {
    bool told = true;
    std::string last;
    while (!stop.stop_requested()) {
        fs::path path;
        bool asked = false;
        {
            const std::lock_guard lock(mutex_);
            path = path_;
            asked = std::exchange(asked_, false);
        }
        watch_->watch(folders_of(path));  // before the look, so that no change after it is missed
        auto now = identity(path);
        // What nobody tells of may be half written still, unless it has stayed as it is.
        const bool settled = told || now == last;
        last = now;
        if (asked || (now != seen_ && settled)) {
            seen_ = std::move(now);
            examine(path);
        }
        told = watch_->wait(look_every_);
    }
}

void ModelLoader::examine(const fs::path& path) {
    if (seen_.empty()) {
        const std::lock_guard lock(mutex_);
        known_.clear();
        findings_.push_back({.kind = ModelFinding::Kind::kAbsent});
        return;
    }
    try {
        auto bundle = read_bundle(path);
        const auto id = bundle.id;
        {
            const std::lock_guard lock(mutex_);
            if (id == known_) {
                findings_.push_back({.kind = ModelFinding::Kind::kKnown, .id = id});
                return;
            }
        }
        auto model = make_(path, std::move(bundle));
        const std::lock_guard lock(mutex_);
        known_ = id;
        findings_.push_back({.kind = ModelFinding::Kind::kLoaded, .id = id, .model = std::move(model)});
    } catch (const std::exception&) {
        auto failure = current_exception_message();
        const std::lock_guard lock(mutex_);
        known_.clear();  // the one before, should it come back, is news
        findings_.push_back({.kind = ModelFinding::Kind::kFailed, .failure = std::move(failure)});
    }
}

}  // namespace chorus
