#pragma once
// From what people drop into a station's inbox to the data set that the station's model is trained on.

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace chorus {

/// Folders of a station that labels pass through, below one root.
struct ImportFolders {
    std::filesystem::path station = "/var/lib/chorus";

    std::filesystem::path inbox() const { return station / "labels" / "inbox"; }
    std::filesystem::path done() const { return station / "labels" / "done"; }
    std::filesystem::path rejected() const { return station / "labels" / "rejected"; }
    std::filesystem::path clips() const { return station / "clips"; }
    std::filesystem::path dataset() const { return station / "dataset"; }
};

struct ImportOptions {
    double test_share = 0.2;  // of the sessions (splits.h) whose subset no label file says, by a hash of their names
    std::chrono::seconds settling = std::chrono::seconds(10);  // a file that changed since is left for the next run
    std::chrono::seconds patience = std::chrono::hours(1);     // labels wait so long for sound that isn't there
};

struct ImportedFile {
    std::string file;  // below the inbox, as below
    std::string format;
    std::size_t recordings = 0;
    std::size_t labels = 0;
    bool is_news = false;  // false: all of it was known
};

struct FileLeft {
    std::string file;
    std::vector<std::string> reasons;  // at least one, each a line
};

struct ImportReport {
    std::vector<ImportedFile> imported;  // now in labels/done/
    std::vector<FileLeft> rejected;      // now in labels/rejected/, each with NAME.reason.txt beside it
    std::vector<FileLeft> waiting;       // still in the inbox
    std::vector<std::string> new_classes;
    std::size_t recordings = 0;  // in the data set now
    std::size_t labels = 0;
};

nlohmann::json to_json(const ImportReport& report);

/// A line each on stderr, with the first of its reasons.
void say_what_was_left(const ImportReport& report);

/// Imports every label file of the inbox and of folders below it (hidden files and NAME.reason.txt are passed over),
/// oldest first, all of a file or nothing. Its sound is the recording of that name beside it, else in the inbox, else
/// in the clips, else in the data set; it becomes DATASET/audio/HASH/NAME, HASH being of its content, so that the same
/// sound is there once. DATASET/history.jsonl tells what was imported, DATASET/labels.csv what holds now
/// (label_history.h). Subsets go by session: one never changes sides. Interrupted at any point, the next run goes on
/// with nothing lost or doubled. Throws std::runtime_error with one line where the disk or another run is in the way;
/// the inbox then holds what wasn't imported.
ImportReport import_labels(const ImportFolders& folders, const ImportOptions& options);

}  // namespace chorus
