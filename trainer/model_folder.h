#pragma once
// The models of a station: bundles, the symbolic link `current` to the one that serves and `candidate` to one that runs
// in its shadow, history.jsonl with a line for each decision, and reports/. A change of them is written down first
// (pending.json), then done step by step, each of which may be done twice: whoever comes next ends what a crash
// interrupted. Changes take turns (flock).

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/bundle.h"

namespace chorus {

/// What is to become of a folder of models. Paths are relative to it.
struct ModelChange {
    std::vector<std::pair<std::string, std::string>> renames;  // from, to
    nlohmann::json history;                                    // the line
    std::string current;                                       // what the link shall lead to; empty: as it does
    std::optional<std::string> candidate;                      // the same; empty: nowhere; nothing: as it does
    std::string expected;                                      // id of what `current` leads to before
};

/// A model in the shadow of the current one.
struct ShadowedModel {
    std::filesystem::path bundle;
    double hours = 0.0;  // since its link was made
};

class ModelFolder {
  public:
    /// on_step, if any, is called after each step that reaches the disk.
    explicit ModelFolder(std::filesystem::path folder, std::function<void()> on_step = {});

    const std::filesystem::path& path() const { return folder_; }

    /// The bundle that serves. Throws std::runtime_error where there is none or `current` is no link.
    std::filesystem::path current() const;

    /// What `candidate` leads to, if it leads anywhere.
    std::optional<ShadowedModel> shadowed() const;

    /// Ends a change that was interrupted.
    void settle();

    /// False, with nothing done, where `current` leads elsewhere than the change expects.
    bool apply(const ModelChange& change);

    /// Lets `current` lead to the parent of the bundle that it leads to, with none in its shadow, and returns the
    /// history's line. Throws std::runtime_error where that is none or not in the folder.
    nlohmann::json roll_back();

    /// Removes bundles named by their ids, and their reports, but for the newest so many, the current one, its parent
    /// and the candidate. Bundles of other names are somebody's own.
    void remove_old(int keep);

  private:
    class Lock;
    void settle_locked();
    void carry_out(const ModelChange& change);
    void append_to_history(const std::string& line);
    void link(const std::string& name, const std::string& target);
    std::filesystem::path find_bundle(const std::string& id) const;
    void done() const {
        if (on_step_) on_step_();
    }

    std::filesystem::path folder_;
    std::function<void()> on_step_;
};

}  // namespace chorus
