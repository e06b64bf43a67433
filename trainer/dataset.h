#pragma once
// Labelled clips, whatever layout they were read from.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/windows.h"

namespace chorus {

enum class Subset { kTrain, kTest };

struct Clip {
    std::filesystem::path audio;
    std::optional<double> offset_seconds = {};  // of a window cut from `audio`; nothing: `audio` is the clip
    std::optional<int> channel = {};            // from 0; nothing: the mean of all
    std::string recording;                      // what splits go by; clips of one recording are never on two sides
    double start_seconds = 0;                   // in the recording
    Subset subset = Subset::kTrain;
    std::vector<std::uint8_t> targets;  // [classes], 0 or 1
};

/// A channel of a recording whose calls were labelled with their times.
struct LabelledChannel {
    std::filesystem::path audio;
    std::optional<int> channel;  // as its clips'
    double seconds = 0.0;        // of the recording
    std::vector<Call> calls;
};

/// Something that can't be used, and why.
struct LeftOut {
    std::string item;  // a file, or metadata.csv:LINE
    std::string reason;
};

struct Dataset {
    std::vector<std::string> classes;  // codes, unique
    std::vector<Clip> clips;
    std::vector<LabelledChannel> labelled_channels;  // none where clips were labelled as a whole
    std::vector<LeftOut> left_out;
    std::string manifest_hash;  // SHA-256 of the manifest, 64 hex digits
};

/// Letters, digits, '_' and '-', at most 256 of them.
bool is_class_code(std::string_view text);

/// An item by its path; `what` may begin with that path, which isn't said twice.
LeftOut left_out_of(const std::filesystem::path& path, std::string_view what);

/// Gives the dataset the classes `codes`, in this order; clips hold none of those it didn't
/// have, and calls of those that it loses go. Returns the places in
/// `codes` of those it had.
std::vector<std::size_t> take_classes(Dataset& dataset, const std::vector<std::string>& codes);

/// A recording on both sides would let a test be passed by memory: its training clips move to left_out.
void leave_out_shared_recordings(Dataset& dataset);

/// AnuraSet's layout: metadata.csv (columns found by name: fname, min_t, max_t, subset; then one 0/1 column a species
/// after `subset`, other columns there are ignored) and audio/<SITE>/<fname>_<min_t>_<max_t>.wav, SITE being the part
/// of fname before the first '_'. Rows that can't be used (bad numbers, a file that is missing, a second row for a
/// clip, a clip that doesn't last window_seconds, a training clip of a recording that is also in the test subset) are
/// listed in left_out. Throws std::runtime_error with one line: no readable metadata.csv, columns missing, or no row
/// left.
Dataset read_anuraset(const std::filesystem::path& directory, double window_seconds);

/// A row of metadata.csv and the clip it tells of.
struct ManifestRow {
    int line = 0;  // from 1
    Clip clip;
    std::string fault;  // why it can't be used; empty where it can
};

struct Manifest {
    std::vector<std::string> classes;
    std::vector<ManifestRow> rows;
};

/// What the text of metadata.csv says, whether the clips are there or not. Throws std::runtime_error without a path:
/// columns or all rows missing.
Manifest parse_manifest_rows(std::string_view text, const std::filesystem::path& directory, double window_seconds);

/// read_anuraset() from the text of metadata.csv, without its hash; what it throws doesn't begin with a path.
Dataset parse_manifest(std::string_view text, const std::filesystem::path& directory, double window_seconds);

struct Species {
    std::string name;   // scientific
    std::string group;  // for example "rare"
};

/// By code, from the dataset's species.csv (columns code, name, group, found by name), which may be absent. Throws
/// std::runtime_error with one line that begins with its path.
std::map<std::string, Species> read_species(const std::filesystem::path& directory);

/// The same from the text of species.csv.
std::map<std::string, Species> parse_species(std::string_view text);

/// Positives a class among the clips of a subset.
std::vector<int> count_positives(const Dataset& dataset, Subset subset);

}  // namespace chorus
