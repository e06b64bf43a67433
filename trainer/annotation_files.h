#pragma once
// What people label recordings with, as text: Raven selection tables, Audacity label tracks (AnuraSet's strong labels
// are such), ESC-50's table and a plain CSV. All parsers are bounded and read untrusted text.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/dataset.h"

namespace chorus {

/// A stretch of a recording and what calls in it.
struct Annotation {
    std::string file;                   // where the text says so, as it is written there
    double start_seconds = 0.0;         // in its file
    std::optional<double> end_seconds;  // nothing: to the end
    std::optional<int> channel;         // from 0; nothing: all of them
    std::vector<std::string> labels;    // as written, without blanks around; none: nothing calls
    std::string recording;              // what splits go by, where the text says so
    std::optional<Subset> subset;       // where the text says so
    int line = 0;                       // from 1
};

struct BadLine {
    int line = 0;
    std::string reason;
};

struct AnnotationText {
    std::vector<Annotation> annotations;
    std::vector<BadLine> bad_lines;  // left out
};

inline constexpr std::size_t kMaxAnnotations = 1'000'000;  // of one text
inline constexpr double kMaxAnnotationSeconds = 1e7;

/// Raven's table: TAB-separated under a header with "Begin Time (s)" and "End Time (s)". Labels stand in the first
/// column of "Species Code", "Species", "Code", "Label", "Annotation", "Tags", in any case. "Channel" counts from 1.
/// With "Begin File" (or "Begin Path") times are within that file where "File Offset (s)" is there, too. All parsers
/// here throw std::runtime_error where the text as a whole is not what it should be.
AnnotationText parse_raven_table(std::string_view text);
bool is_raven_table(std::string_view text);

/// Audacity's: start, end and label, TAB-separated; lines that begin with '\' (frequencies) are passed over.
AnnotationText parse_label_track(std::string_view text);

/// meta/esc50.csv: columns filename, fold, category and src_file, found by name. Clips of one source share a recording;
/// those of `test_fold` are the test subset.
AnnotationText parse_esc50(std::string_view text, int test_fold);

/// Columns file, start_s, end_s and codes, found by name, and if there channel (from 0), subset (train or test) and
/// recording. Without times a row is about the whole file; without codes it says that nothing calls.
AnnotationText parse_label_csv(std::string_view text);

/// The parts of a label between ';', ',' and '|', without blanks around them and without empty ones.
std::vector<std::string> split_labels(std::string_view text);

/// Which recording a table or track is about, by its file's name without the ending: NAME, NAME.selections or
/// NAME.Table.N.selections.
std::string recording_of_table(std::string_view stem);

/// AnuraSet's strong labels tell how good the sound is: BOAALB_H, _M or _L.
bool tells_quality(std::string_view label);
void strip_quality(std::vector<std::string>& labels);

}  // namespace chorus
