#pragma once
// One label file as people drop it, whichever of the formats it is in.

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/annotation_files.h"

namespace chorus {

enum class LabelFormat {
    kRaven,           // .txt: selection table
    kAudacity,        // .txt: label track
    kAnuraSetStrong,  // .txt: a label track of which every label ends in _H, _M or _L
    kAnuraSet,        // .csv with fname, min_t, max_t, subset and one 0/1 column a species
    kCsv,             // .csv with file, start_s, end_s, codes
};

std::string to_string(LabelFormat format);  // "raven", "audacity", "anuraset-strong", "anuraset", "csv"

/// Tables and tracks tell all that calls in their recordings, the others of what each row is about.
bool is_table(LabelFormat format);

struct LabelFile {
    LabelFormat format = LabelFormat::kCsv;
    /// Each names its file: that of a sound, or, of tables, the recording without an ending. A table without lines
    /// gives one without times and labels: nothing calls.
    std::vector<Annotation> annotations;
};

/// Why a label file can't be used: all that is wrong with it, each as one line.
class BadLabelFile : public std::runtime_error {
  public:
    explicit BadLabelFile(std::vector<std::string> reasons)
        : std::runtime_error(reasons.front()), reasons_(std::move(reasons)) {}
    const std::vector<std::string>& reasons() const { return reasons_; }

  private:
    std::vector<std::string> reasons_;
};

/// From the text of a file of this name. Throws BadLabelFile, its reasons beginning with the name, and the line where
/// there is one, if any line can't be used.
LabelFile parse_label_file(const std::string& name, std::string_view text);

}  // namespace chorus
