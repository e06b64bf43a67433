#include "trainer/label_import.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <tuple>

#include "model/bundle.h"
#include "trainer/audio_index.h"
#include "trainer/audio_shelf.h"
#include "trainer/durable_file.h"
#include "trainer/label_files.h"
#include "trainer/label_history.h"
#include "trainer/label_sounds.h"
#include "trainer/run_lock.h"
#include "trainer/splits.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

constexpr auto kReasonEnding = ".reason.txt";
constexpr std::size_t kMostReasons = 100;  // told of a file

/// Time since the file came here or changed; a clock that was set back since makes it old.
std::chrono::seconds age_of(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::chrono::seconds::max();
    const auto age = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()) -
                     std::chrono::seconds(status.st_ctim.tv_sec);
    return age < std::chrono::seconds(0) ? std::chrono::seconds::max() : age;
}

/// FOLDER/NAME, or, where that is taken, FOLDER/2/NAME and so on: nothing is overwritten.
fs::path free_place(const fs::path& folder, const fs::path& name) {
    auto place = folder / name;
    for (int number = 2; fs::exists(place); ++number) place = folder / std::to_string(number) / name;
    return place;
}

/// A label file of the inbox.
struct Dropped {
    fs::path path;
    std::string name;  // below the inbox
    fs::file_time_type written;
};

std::vector<Dropped> label_files_of(const fs::path& inbox) {
    std::vector<Dropped> files;
    for (auto entry = fs::recursive_directory_iterator(inbox); entry != fs::recursive_directory_iterator(); ++entry) {
        const auto name = entry->path().filename().string();
        if (name.starts_with('.')) {
            entry.disable_recursion_pending();
            continue;
        }
        if (entry->is_symlink() || !entry->is_regular_file() || has_audio_ending(name) || name.ends_with(kReasonEnding))
            continue;
        files.push_back({.path = entry->path(),
                         .name = entry->path().lexically_relative(inbox).string(),
                         .written = entry->last_write_time()});
    }
    std::sort(files.begin(), files.end(), [](const Dropped& a, const Dropped& b) {
        return std::tie(a.written, a.name) < std::tie(b.written, b.name);
    });
    return files;
}

/// Sound, its place in the data set, and what a label file says of it.
struct Placed {
    fs::path sound;
    Told told;
};

class Importer {
  public:
    Importer(const ImportFolders& folders, const ImportOptions& options)
        : folders_(folders),
          options_(options),
          history_(folders.dataset()),
          shelf_(folders.dataset(), folders.dataset() / "audio"),
          sounds_(folders.inbox(), folders.clips(), folders.dataset() / "audio",
                  CodeFinder(read_species(folders.dataset())), options.settling) {}

    ImportReport run() {
        const auto known = history_.codes();
        auto files = label_files_of(folders_.inbox());
        put_last_first(files);
        for (const auto& file : files) import(file);
        write_labels();
        clear_sounds();
        report_.recordings = history_.recordings();
        report_.labels = history_.labels();
        const auto codes = history_.codes();
        std::set_difference(codes.begin(), codes.end(), known.begin(), known.end(),
                            std::back_inserter(report_.new_classes));
        return std::move(report_);
    }

  private:
    /// A file that was imported before a crash, but not moved, must not be taken for a later word than those after it.
    /// It is read again all the same: a file about other sound may have its name and content.
    void put_last_first(std::vector<Dropped>& files) const {
        const auto& last = history_.last();
        std::stable_partition(files.begin(), files.end(), [&](const Dropped& file) {
            if (file.path.filename() != last.file) return false;
            try {
                return sha256_hex_of_file(file.path) == last.sha256;
            } catch (const std::runtime_error&) {  // unreadable: rejected in its turn
                return false;
            }
        });
    }

    void finish(const Dropped& file, const LabelImport& import, bool is_news) {
        move_to_done(file);
        std::size_t labels = 0;
        for (const auto& recording : import.recordings) labels += recording.labels.size();
        report_.imported.push_back({.file = file.name,
                                    .format = to_string(import.format),
                                    .recordings = import.recordings.size(),
                                    .labels = labels,
                                    .is_news = is_news});
    }

    void import(const Dropped& file) {
        if (!fs::exists(file.path)) return;  // taken away meanwhile
        const auto name = file.path.filename().string();
        if (is_being_written(file.path, options_.settling))
            return wait(file, {fmt::format("changed less than {} s ago", options_.settling.count())});
        LabelImport import;
        Heard heard;
        try {
            if (!is_plain_text(name)) throw BadLabelFile({"its name isn't UTF-8 or holds control characters"});
            const auto text = text_of(file);
            const auto labels = parse_label_file(name, text);
            import = {.utc = utc_now(),
                      .file = name,
                      .sha256 = sha256_hex(std::as_bytes(std::span(text))),
                      .format = labels.format,
                      .recordings = {}};
            heard = sounds_.hear(file.path, labels);
            if (!heard.unsettled.empty()) return wait(file, heard.unsettled);
            if (!heard.missing.empty() && age_of(file.path) < options_.patience) return wait(file, heard.missing);
            if (!heard.missing.empty()) throw BadLabelFile(heard.missing);
        } catch (const BadLabelFile& bad) {
            return reject(file, bad.reasons());
        }
        import.recordings = place(std::move(heard.told));
        finish(file, import, history_.add(import));
    }

    std::string text_of(const Dropped& file) const {
        try {
            return read_text(file.path);
        } catch (const std::runtime_error& error) {
            throw BadLabelFile(
                {fmt::format("{}: {}", file.path.filename().string(), left_out_of(file.path, error.what()).reason)});
        }
    }

    /// Brings the sound into the data set. Sound that no import told of yet may be half there, after a crash.
    std::vector<ImportedRecording> place(std::map<fs::path, Told> told) {
        std::map<std::string, Placed> placed;
        bool is_new = false;
        for (auto& [sound, what] : told) {
            const auto place = shelf_.place_of(sound);
            const bool is_known = history_.recording_of(place.string()) != nullptr;
            if (!is_known || !fs::exists(folders_.dataset() / place)) {
                shelf_.put(sound, place);
                is_new = true;
            }
            brought_.insert(sound);
            auto& here = placed[place.string()];
            if (here.sound.empty()) {
                here = {.sound = sound, .told = std::move(what)};
                continue;
            }
            // The same sound under another name.
            here.told.subsets.merge(what.subsets);
            std::move(what.labels.begin(), what.labels.end(), std::back_inserter(here.told.labels));
        }
        if (is_new) shelf_.sync();
        return to_recordings(std::move(placed));
    }

    /// A session's subset is decided when it is first heard of: by the label file where it says one, else by its name.
    std::vector<ImportedRecording> to_recordings(std::map<std::string, Placed> placed) const {
        std::vector<ImportedRecording> recordings;
        std::map<std::string, std::set<Subset>> said;  // by recording
        for (auto& [place, here] : placed) {
            const auto* known = history_.recording_of(place);
            auto& recording = recordings.emplace_back();
            recording.file = place;
            recording.from = here.sound.lexically_relative(folders_.station).string();
            recording.recording = here.told.recording;
            if (recording.recording.empty()) recording.recording = session_of(here.sound.stem().string());
            if (known != nullptr) recording.recording = *known;
            recording.labels = std::move(here.told.labels);
            said[recording.recording].merge(here.told.subsets);
        }
        for (auto& recording : recordings) {
            const auto& name = recording.recording;
            const auto first = said[name].size() == 1 ? *said[name].begin() : subset_by_name(name, options_.test_share);
            recording.subset = history_.subset_of(name).value_or(first);
        }
        return recordings;
    }

    void reject(const Dropped& file, const std::vector<std::string>& reasons) {
        const auto place = free_place(folders_.rejected(), file.path.filename());
        std::string text;
        for (std::size_t i = 0; i < std::min(reasons.size(), kMostReasons); ++i) text += reasons[i] + '\n';
        if (reasons.size() > kMostReasons) text += fmt::format("and {} more\n", reasons.size() - kMostReasons);
        fs::create_directories(place.parent_path());
        replace_file(place.string() + kReasonEnding, std::as_bytes(std::span(text)));
        move_file(file.path, place);
        report_.rejected.push_back({.file = file.name, .reasons = reasons});
    }

    void wait(const Dropped& file, std::vector<std::string> reasons) {
        report_.waiting.push_back({.file = file.name, .reasons = std::move(reasons)});
    }

    void move_to_done(const Dropped& file) const {
        const auto name = file.path.filename();
        const auto place = free_place(folders_.done(), name);
        fs::create_directories(place.parent_path());
        move_file(file.path, place);
        const auto mended = folders_.rejected() / name;  // if it was rejected before
        if (!fs::exists(mended)) fs::remove(mended.string() + kReasonEnding);
    }

    void write_labels() const {
        const auto path = folders_.dataset() / "labels.csv";
        const auto text = history_.labels_csv();
        if (text.empty() || (fs::exists(path) && read_text(path) == text)) return;
        replace_file(path, std::as_bytes(std::span(text)));
    }

    /// Sound that is in the data set now leaves the inbox; another file of its name stays.
    void clear_sounds() {
        for (const auto& sound : sounds_.in_inbox()) {
            const bool is_candidate =
                brought_.contains(sound) || history_.has_origin(sound.lexically_relative(folders_.station).string());
            if (is_candidate && fs::exists(sound) && fs::exists(folders_.dataset() / shelf_.place_of(sound)))
                fs::remove(sound);
        }
    }

    const ImportFolders& folders_;
    const ImportOptions& options_;
    LabelHistory history_;
    AudioShelf shelf_;
    LabelSounds sounds_;
    std::set<fs::path> brought_;  // sounds of this run
    ImportReport report_;
};

json to_json(const std::vector<FileLeft>& files) {
    json list = json::array();
    for (const auto& [file, reasons] : files) list.push_back({{"file", file}, {"reasons", reasons}});
    return list;
}

}  // namespace

nlohmann::json to_json(const ImportReport& report) {
    json imported = json::array();
    for (const auto& file : report.imported)
        imported.push_back({{"file", file.file},
                            {"format", file.format},
                            {"recordings", file.recordings},
                            {"labels", file.labels},
                            {"is_news", file.is_news}});
    return json{{"imported", std::move(imported)},    {"rejected", to_json(report.rejected)},
                {"waiting", to_json(report.waiting)}, {"new_classes", report.new_classes},
                {"recordings", report.recordings},    {"labels", report.labels}};
}

void say_what_was_left(const ImportReport& report) {
    const auto say = [](const FileLeft& file, const char* what) {
        fmt::print(stderr, "{} {}: {}{}\n", file.file, what, file.reasons.front(),
                   file.reasons.size() > 1 ? fmt::format(" (and {} more)", file.reasons.size() - 1) : "");
    };
    for (const auto& file : report.rejected) say(file, "is rejected");
    for (const auto& file : report.waiting) say(file, "waits");
}

ImportReport import_labels(const ImportFolders& folders, const ImportOptions& options) {
    const auto dataset = folders.dataset();
    if (!fs::is_directory(folders.station))
        throw std::runtime_error(fmt::format("{}: is no folder", folders.station.string()));
    for (const auto& folder : {folders.inbox(), folders.done(), folders.rejected(), dataset / "audio"})
        fs::create_directories(folder);
    const RunLock lock(dataset / "import.lock");
    if (fs::exists(dataset / "labels.csv") && !fs::exists(dataset / "history.jsonl"))
        throw std::runtime_error(
            fmt::format("{}: was not made by import, which would replace it; drop it and its sound in {} instead",
                        (dataset / "labels.csv").string(), folders.inbox().string()));
    return Importer(folders, options).run();
}

}  // namespace chorus
