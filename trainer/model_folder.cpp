#include "trainer/model_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ratio>
#include <set>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "trainer/durable_file.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr auto* kCandidate = "candidate";
constexpr auto* kPending = "pending.json";
constexpr auto* kHistory = "history.jsonl";
constexpr auto* kReports = "reports";
constexpr auto* kBundleEnding = ".safetensors";

[[noreturn]] void fail(const fs::path& path, std::string_view what) {
    throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
}

std::string text_of(const ModelChange& change) {
    return json({{"renames", change.renames},
                 {"history", change.history},
                 {"current", change.current},
                 {"candidate", change.candidate ? json(*change.candidate) : json()},
                 {"expected", change.expected}})
        .dump();
}

ModelChange parse_change(const std::string& text) {
    const auto value = json::parse(text);
    ModelChange change{.renames = value.at("renames"),
                       .history = value.at("history"),
                       .current = value.at("current"),
                       .candidate = {},
                       .expected = value.at("expected")};
    if (const auto& candidate = value.at("candidate"); !candidate.is_null())
        change.candidate = candidate.get<std::string>();
    return change;
}

/// Whether a bundle or report is one that retraining named: by an id.
bool is_named_by_id(const fs::path& file) {
    const auto stem = file.stem().string();
    return stem.size() == 16 && stem.find_first_not_of("0123456789abcdef") == stem.npos;
}

std::vector<fs::path> files_in(const fs::path& folder) {
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) files.push_back(entry.path());
    return files;
}

}  // namespace

/// On the folder itself.
class ModelFolder::Lock {
  public:
    explicit Lock(const fs::path& folder) : folder_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (folder_ < 0) fail(folder, std::strerror(errno));
        while (flock(folder_, LOCK_EX) != 0)
            if (errno != EINTR) fail(folder, std::strerror(errno));
    }
    ~Lock() { close(folder_); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

  private:
    int folder_;
};

ModelFolder::ModelFolder(fs::path folder, std::function<void()> on_step)
    : folder_(std::move(folder)), on_step_(std::move(on_step)) {}

fs::path ModelFolder::current() const {
    const auto link = folder_ / "current";
    if (!fs::is_symlink(fs::symlink_status(link))) fail(link, "is no symbolic link to a bundle");
    std::error_code error;
    auto bundle = fs::canonical(link, error);
    if (error) fail(link, error.message());
    return bundle;
}

std::optional<ShadowedModel> ModelFolder::shadowed() const {
    const auto link = folder_ / kCandidate;
    struct stat status {};
    std::error_code error;
    auto bundle = fs::canonical(link, error);
    if (error || lstat(link.c_str(), &status) != 0) return std::nullopt;
    const auto age = std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(status.st_mtime);
    return ShadowedModel{.bundle = std::move(bundle),
                         .hours = std::chrono::duration<double, std::ratio<3600>>(age).count()};
}

void ModelFolder::settle() {
    const Lock lock(folder_);
    settle_locked();
}

bool ModelFolder::apply(const ModelChange& change) {
    const Lock lock(folder_);
    settle_locked();
    if (read_bundle(current()).id != change.expected) return false;
    const auto text = text_of(change);
    replace_file(folder_ / kPending, std::as_bytes(std::span(text)));
    done();
    settle_locked();
    return true;
}

json ModelFolder::roll_back() {
    const Lock lock(folder_);
    settle_locked();
    const auto serving = current();
    const auto bundle = read_bundle(serving);
    if (bundle.parent.empty()) fail(serving, "has no parent to go back to");
    const auto parent = find_bundle(bundle.parent);
    if (parent.empty())
        fail(folder_, fmt::format("{}, the parent of the current model {}, is not in it", bundle.parent, bundle.id));
    const ModelChange change{
        .renames = {},
        .history = {{"time", utc_now()}, {"outcome", "rolled_back"}, {"current", bundle.parent}, {"was", bundle.id}},
        .current = parent.filename().string(),
        .candidate = "",
        .expected = bundle.id};
    const auto text = text_of(change);
    replace_file(folder_ / kPending, std::as_bytes(std::span(text)));
    done();
    settle_locked();
    return change.history;
}

void ModelFolder::remove_old(int keep) {
    const Lock lock(folder_);
    const auto serving = read_bundle(current());
    std::vector<std::pair<fs::file_time_type, fs::path>> bundles;
    for (const auto& file : files_in(folder_))
        if (file.extension() == kBundleEnding && is_named_by_id(file) && fs::is_regular_file(file))
            bundles.emplace_back(fs::last_write_time(file), file);
    std::sort(bundles.begin(), bundles.end(), std::greater());
    std::set<std::string> kept = {serving.id, serving.parent};
    if (const auto candidate = shadowed()) kept.insert(candidate->bundle.stem().string());
    for (const auto& [time, file] : bundles) {
        const auto id = file.stem().string();
        if (keep-- > 0) kept.insert(id);
        if (!kept.contains(id)) fs::remove(file);
    }
    for (const auto& file : files_in(folder_ / kReports))
        if (is_named_by_id(file) && !kept.contains(file.stem().string())) fs::remove(file);
}

void ModelFolder::settle_locked() {
    const auto pending = folder_ / kPending;
    if (!fs::exists(pending)) return;
    ModelChange change;
    try {
        change = parse_change(read_text(pending));
    } catch (const json::exception& error) {
        fail(pending, error.what());
    }
    carry_out(change);
    fs::remove(pending);
    flush_folder(folder_);
    done();
}

void ModelFolder::carry_out(const ModelChange& change) {
    for (const auto& [from, to] : change.renames) {
        if (!fs::exists(folder_ / from)) continue;  // done already
        fs::rename(folder_ / from, folder_ / to);
        flush_folder((folder_ / to).parent_path());
        done();
    }
    append_to_history(change.history.dump(-1, ' ', false, json::error_handler_t::replace));
    done();
    if (!change.current.empty() && read_bundle(current()).id == change.expected) link("current", change.current);
    if (change.candidate) link(kCandidate, *change.candidate);
}

/// Once.
void ModelFolder::append_to_history(const std::string& line) {
    const auto path = folder_ / kHistory;
    const auto history = fs::exists(path) ? '\n' + read_text(path) : std::string();
    if (history.find('\n' + line + '\n') == history.npos) append_line(path, line);
}

/// Or takes the link away where it shall lead nowhere.
void ModelFolder::link(const std::string& name, const std::string& target) {
    if (target.empty()) {
        if (!fs::remove(folder_ / name)) return;
    } else {
        const auto beside = folder_ / (name + ".new");
        fs::remove(beside);
        fs::create_symlink(target, beside);
        fs::rename(beside, folder_ / name);
    }
    flush_folder(folder_);
    done();
}

fs::path ModelFolder::find_bundle(const std::string& id) const {
    const auto has_id = [&](const fs::path& file) {
        try {
            return read_bundle(file).id == id;
        } catch (const std::runtime_error&) {
            return false;
        }
    };
    if (const auto named = folder_ / (id + kBundleEnding); has_id(named)) return named;
    for (const auto& file : files_in(folder_))
        if (file.extension() == kBundleEnding && has_id(file)) return file;
    return {};
}

}  // namespace chorus
