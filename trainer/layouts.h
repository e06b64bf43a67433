#pragma once
// Data sets as they lie on disk.

#include <filesystem>
#include <map>
#include <string>

#include "trainer/dataset.h"

namespace chorus {

enum class Layout {
    kAuto,            // what is there, in the order below
    kAnuraSet,        // metadata.csv and audio/: clips (dataset.h)
    kAnuraSetStrong,  // strong_labels/<SITE>/<fname>.txt and the minutes <fname>.wav anywhere below raw_data/, or below
                      // the folder where that isn't there; subsets from metadata.csv where it is there
    kEsc50,           // meta/esc50.csv and audio/
    kCsv,             // labels.csv with file, start_s, end_s, codes; or that file itself instead of the folder
    kTables,          // Raven selection tables and Audacity label tracks (.txt), anywhere below the folder
};

struct DataOptions {
    Layout layout = Layout::kAuto;
    double window_hop_seconds = 1.0;    // between windows cut from recordings
    double overlap_seconds = 0.5;       // of a call, or all of a shorter one, must lie in a window
    bool unlabelled_is_absence = true;  // false: windows of which nothing was said are no clips
    double test_share = 0.2;            // of the recordings of a data set that doesn't name its subsets
    int test_fold = 5;                  // of ESC-50
    bool strict = false;                // left out: nothing, or it fails
    std::filesystem::path cache = {};   // folder of features (feature_cache.h); empty: none

    bool operator==(const DataOptions&) const = default;
};

std::string to_string(Layout layout);  // "auto", "anuraset", "anuraset-strong", "esc50", "csv", "tables"

/// Recordings of all layouts but the first are cut into windows (labelled_recordings.h). A table NAME.txt,
/// NAME.selections.txt or NAME.Table.1.selections.txt is about the recording NAME, the one beside it before others;
/// several tables of one recording add up. Recordings that no table or track is about are left out. A recording's name
/// without its ending is what splits go by, unless the data set says otherwise. Throws std::runtime_error with one
/// line.
Dataset read_dataset(const std::filesystem::path& path, const DataOptions& options, double window_seconds);

/// The data set `folder` by other labels than its own: a file like labels.csv, wherever it lies. Throws
/// std::runtime_error.
Dataset read_by_labels(const std::filesystem::path& folder, const std::filesystem::path& labels,
                       const DataOptions& options, double window_seconds);

/// How read_dataset() cuts recordings.
WindowOptions window_options(const DataOptions& options, double window_seconds);

/// With options.strict, throws std::runtime_error naming the first of what was left out and their number.
void refuse_left_out(const Dataset& dataset, const DataOptions& options);

/// species.csv of the data set at `path`: the folder, or that of a CSV file.
std::map<std::string, Species> species_of(const std::filesystem::path& path);

}  // namespace chorus
