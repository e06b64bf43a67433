#pragma once
// What a station's data set was told, import by import, and what holds of it now.
//
// DATASET/history.jsonl, one import a line, is the truth and only ever grows:
//   {"schema": "chorus.import/1", "utc": TIME, "file": NAME, "sha256": HEX, "format": FORMAT, "recordings": [
//     {"file": PATH below DATASET, "from": PATH below the station's folder, "recording": NAME, "subset": train or test,
//      "labels": [{"channel": N, "start_s": S, "end_s": S, "codes": [CODE, ...]}, ...]}, ...]}
// without "channel" where it is all of them, and with "whole_file": true where no times were told. Later imports
// replace what earlier ones said:
//   - a table or track replaces, for its recordings, the earlier one of the same file name;
//   - a label replaces earlier ones of the same recording and channel that begin and end with it;
//   - where it says that nothing calls, nothing that was said before holds.
// DATASET/labels.csv (annotation_files.h), which training reads, follows from it.

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "trainer/dataset.h"
#include "trainer/label_files.h"

namespace chorus {

struct LabelledSpan {
    std::optional<int> channel;  // from 0; nothing: all of them
    double start_seconds = 0.0;  // to the microsecond
    double end_seconds = 0.0;
    std::vector<std::string> codes;  // sorted; none: nothing calls
    bool is_whole_file = false;      // no times were told: somewhere in it
    auto operator<=>(const LabelledSpan&) const = default;
};

struct ImportedRecording {
    std::string file;       // below the data set
    std::string from;       // where it was found, below the station's folder
    std::string recording;  // what splits go by
    Subset subset = Subset::kTrain;
    std::vector<LabelledSpan> labels;
};

struct LabelImport {
    std::string utc;     // ISO 8601
    std::string file;    // name of the label file
    std::string sha256;  // of its content
    LabelFormat format = LabelFormat::kCsv;
    std::vector<ImportedRecording> recordings;
};

/// One thread; one process at a time may add.
class LabelHistory {
  public:
    /// A last line that a crash cut short counts for nothing. Throws std::runtime_error with one line that begins with
    /// the path: unreadable, or a line that is no import.
    explicit LabelHistory(const std::filesystem::path& dataset);

    /// Writes the import down, to the disk, unless it changes nothing: then false. Recordings that are known already
    /// keep their name and subset. Throws std::runtime_error with one line, and nothing was added, when that can't be.
    bool add(const LabelImport& import);

    /// The last import; empty before the first.
    const LabelImport& last() const { return last_; }
    /// The subset of the recordings of this name: it never changes.
    std::optional<Subset> subset_of(const std::string& recording) const;
    /// What a recording's name for splits is, by its file below the data set; null where it isn't known.
    const std::string* recording_of(const std::string& file) const;
    /// Whether a recording was once imported from here, below the station's folder.
    bool has_origin(const std::string& from) const { return origins_.contains(from); }

    std::size_t recordings() const { return recordings_.size(); }
    std::size_t labels() const;
    std::set<std::string> codes() const;
    /// The text of labels.csv; empty before the first import.
    std::string labels_csv() const;

  private:
    struct Label {
        LabelledSpan span;
        std::string table;  // file name of the table that said it; empty for the others
        auto operator<=>(const Label&) const = default;
    };
    struct Recording {
        std::string recording;
        Subset subset = Subset::kTrain;
        std::vector<Label> labels;  // sorted
        bool operator==(const Recording&) const = default;
    };
    using Recordings = std::map<std::string, Recording>;  // by file

    static std::vector<Label> merge(std::vector<Label> earlier, const std::vector<LabelledSpan>& later,
                                    const std::string& table);
    /// The recordings that an import is about, as they are after it.
    Recordings after(const LabelImport& import) const;
    void take(const LabelImport& import, Recordings changed);

    std::filesystem::path path_;
    Recordings recordings_;
    std::map<std::string, Subset> subsets_;  // by recording
    std::set<std::string> origins_;
    LabelImport last_;
};

}  // namespace chorus
