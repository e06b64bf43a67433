#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/model.h"

namespace chorus {

/// What a look at a model's path came to.
struct ModelFinding {
    enum class Kind { kLoaded, kKnown, kAbsent, kFailed };
    Kind kind = Kind::kLoaded;
    std::string id = {};                      // kLoaded, kKnown: of the bundle
    std::shared_ptr<const Model> model = {};  // kLoaded: warm, ready for use
    std::string failure = {};                 // kFailed: one line that begins with the path
};

/// Loads the bundle that a path names whenever it has become another one, in a thread of its own. It sees, by inotify,
/// that the path, a symbolic link on the way, or the file itself is put in place, written or removed. What inotify
/// can't tell, as of a folder that wasn't there, it sees when it looks by itself, once two such looks find the same.
class ModelLoader {
  public:
    /// Makes the model of a bundle read from `path`, warm; throws with one line. Called by the loader's thread.
    using Make = std::function<std::shared_ptr<const Model>(const std::filesystem::path& path, Bundle bundle)>;

    static constexpr std::chrono::milliseconds kLookEvery{10'000};

    /// name: of the thread. known: id of a bundle that needn't be loaded; empty: none; later the last that was, unless
    /// the path has named none since. The first look is at once, one by itself each `look_every`.
    ModelLoader(const std::string& name, std::filesystem::path path, std::string known, Make make,
                std::chrono::milliseconds look_every = kLookEvery);
    ~ModelLoader();
    ModelLoader(const ModelLoader&) = delete;
    ModelLoader& operator=(const ModelLoader&) = delete;

    /// Looks again, whether anything changed or not. An empty path names nothing. Any thread.
    void look(std::filesystem::path path, std::string known);

    /// What has been found since the last call, in order. Any thread.
    std::vector<ModelFinding> take();

  private:
    class Watch;
    void run(const std::stop_token& stop);
    void examine(const std::filesystem::path& path);

    const Make make_;
    const std::chrono::milliseconds look_every_;
    const std::unique_ptr<Watch> watch_;

    std::mutex mutex_;  // guards what follows
    std::filesystem::path path_;
    std::string known_;
    bool asked_ = true;
    std::vector<ModelFinding> findings_;

    std::string seen_;  // the file that was examined last; of the thread alone
    std::jthread thread_;
};

}  // namespace chorus
