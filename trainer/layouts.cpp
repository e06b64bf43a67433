#include "trainer/layouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>

#include "trainer/audio_index.h"
#include "trainer/csv.h"
#include "trainer/labelled_recordings.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

constexpr auto kManifest = "metadata.csv";
constexpr auto kStrongLabels = "strong_labels";
constexpr auto kRawData = "raw_data";
constexpr auto kEsc50Table = "meta/esc50.csv";
constexpr auto kLabelCsv = "labels.csv";

/// What a label file says of which recordings; one recording may be in many label files.
class Gathered {
  public:
    void add(const std::filesystem::path& audio, const std::filesystem::path& label_file, std::string recording,
             std::optional<Subset> subset, std::vector<Annotation> annotations) {
        auto& labelled = by_audio_[audio];
        if (labelled.audio.empty())
            labelled = {.audio = audio,
                        .recording = recording.empty() ? audio.stem().string() : std::move(recording),
                        .label_file = label_file,
                        .subset = subset,
                        .annotations = {}};
        else if (labelled.subset != subset)
            throw std::runtime_error("says another subset than the recording's first line");
        std::move(annotations.begin(), annotations.end(), std::back_inserter(labelled.annotations));
    }

    void leave_out(const std::filesystem::path& file, int line, const std::string& reason) {
        left_out_.push_back({.item = fmt::format("{}:{}", file.string(), line), .reason = reason});
    }
    void leave_out(const std::filesystem::path& file, const std::string& reason) {
        left_out_.push_back(left_out_of(file, reason));
    }
    void leave_out(const std::filesystem::path& file, const std::vector<BadLine>& lines) {
        for (const auto& [line, reason] : lines) leave_out(file, line, reason);
    }

    /// Sound that nobody labelled teaches nothing, neither presence nor absence.
    void leave_out_unlabelled(const AudioIndex& index) {
        for (const auto& file : index.files())
            if (!by_audio_.contains(file)) leave_out(file, "no label file is about it");
    }

    std::vector<LabelledRecording> take_recordings() {
        std::vector<LabelledRecording> recordings;
        for (auto& [audio, labelled] : by_audio_) recordings.push_back(std::move(labelled));
        return recordings;
    }
    std::vector<LeftOut> take_left_out() { return std::move(left_out_); }

  private:
    std::map<std::filesystem::path, LabelledRecording> by_audio_;
    std::vector<LeftOut> left_out_;
};

std::vector<std::filesystem::path> text_files_below(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (auto entry = std::filesystem::recursive_directory_iterator(folder, error);
         !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error))
        if (entry->path().extension() == ".txt" && entry->is_regular_file()) files.push_back(entry->path());
    if (error) throw std::runtime_error(fmt::format("{}: {}", folder.string(), error.message()));
    std::sort(files.begin(), files.end());
    return files;
}

/// Rows that each name their file: ESC-50's and the plain CSV.
Gathered gather_rows(const std::filesystem::path& folder, const std::filesystem::path& file,
                     const std::function<AnnotationText(std::string_view)>& parse) {
    const AudioIndex index(folder);
    const auto text = parse(read_text(file));
    Gathered gathered;
    gathered.leave_out(file, text.bad_lines);
    for (const auto& annotation : text.annotations) {
        try {
            gathered.add(index.by_name(annotation.file), file, annotation.recording, annotation.subset, {annotation});
        } catch (const std::runtime_error& error) {
            gathered.leave_out(file, annotation.line, error.what());
        }
    }
    return gathered;
}

void gather_table(const AudioIndex& index, const std::filesystem::path& file, Gathered& gathered) {
    const auto text = read_text(file);
    const bool is_raven = is_raven_table(text);
    auto parsed = is_raven ? parse_raven_table(text) : parse_label_track(text);
    const auto stem = recording_of_table(file.stem().string());
    if (!is_raven || std::all_of(parsed.annotations.begin(), parsed.annotations.end(),
                                 [](const Annotation& annotation) { return annotation.file.empty(); })) {
        gathered.add(index.by_stem(stem, file.parent_path()), file, {}, {}, std::move(parsed.annotations));
        gathered.leave_out(file, parsed.bad_lines);
        return;
    }
    gathered.leave_out(file, parsed.bad_lines);
    for (auto& annotation : parsed.annotations) {
        try {
            const auto name = std::filesystem::path(annotation.file).stem().string();
            const auto& audio = index.by_stem(name.empty() ? stem : name, file.parent_path());
            gathered.add(audio, file, {}, {}, {annotation});
        } catch (const std::runtime_error& error) {
            gathered.leave_out(file, annotation.line, error.what());
        }
    }
}

Gathered gather_tables(const std::filesystem::path& folder) {
    const AudioIndex index(folder);
    Gathered gathered;
    for (const auto& file : text_files_below(folder)) {
        try {
            gather_table(index, file, gathered);
        } catch (const std::runtime_error& error) {
            gathered.leave_out(file, error.what());
        }
    }
    gathered.leave_out_unlabelled(index);
    return gathered;
}

/// Which subset AnuraSet's clips of a recording are in; empty without metadata.csv.
std::map<std::string, Subset> anuraset_subsets(const std::filesystem::path& folder) {
    std::map<std::string, Subset> subsets;
    const auto path = folder / kManifest;
    if (!std::filesystem::exists(path)) return subsets;
    const auto text = read_text(path);
    CsvReader csv(text);
    std::vector<std::string> fields;
    if (!csv.next(fields)) return subsets;
    const auto column = [&](std::string_view name) {
        return static_cast<std::size_t>(std::find(fields.begin(), fields.end(), name) - fields.begin());
    };
    const auto recording = column("fname");
    const auto subset = column("subset");
    while (csv.next(fields))
        if (std::max(recording, subset) < fields.size())
            subsets[fields[recording]] = fields[subset] == "test" ? Subset::kTest : Subset::kTrain;
    return subsets;
}

Gathered gather_strong_labels(const std::filesystem::path& folder) {
    const auto minutes = folder / kRawData;
    const AudioIndex index(std::filesystem::is_directory(minutes) ? minutes : folder);
    const auto subsets = anuraset_subsets(folder);
    Gathered gathered;
    for (const auto& file : text_files_below(folder / kStrongLabels)) {
        try {
            auto parsed = parse_label_track(read_text(file));
            gathered.leave_out(file, parsed.bad_lines);
            for (auto& annotation : parsed.annotations) strip_quality(annotation.labels);
            const auto stem = file.stem().string();
            const auto known = subsets.find(stem);
            gathered.add(index.by_stem(stem, file.parent_path()), file, {},
                         known == subsets.end() ? std::nullopt : std::optional(known->second),
                         std::move(parsed.annotations));
        } catch (const std::runtime_error& error) {
            gathered.leave_out(file, error.what());
        }
    }
    gathered.leave_out_unlabelled(index);
    return gathered;
}

Layout find_layout(const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) return Layout::kCsv;
    if (std::filesystem::exists(path / kManifest) && std::filesystem::exists(path / "audio")) return Layout::kAnuraSet;
    if (std::filesystem::is_directory(path / kStrongLabels)) return Layout::kAnuraSetStrong;
    if (std::filesystem::exists(path / kEsc50Table)) return Layout::kEsc50;
    if (std::filesystem::exists(path / kLabelCsv)) return Layout::kCsv;
    return text_files_below(path).empty() ? Layout::kAnuraSet : Layout::kTables;
}

Dataset cut(Gathered gathered, const std::filesystem::path& folder, const DataOptions& options, double window_seconds) {
    return cut_recordings(gathered.take_recordings(), read_species(folder),
                          {.windows = window_options(options, window_seconds),
                           .unlabelled_is_absence = options.unlabelled_is_absence,
                           .test_share = options.test_share},
                          gathered.take_left_out());
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
    if (std::filesystem::is_directory(path)) return path;
    return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::string to_string(Layout layout) {
    switch (layout) {
        case Layout::kAuto:
            return "auto";
        case Layout::kAnuraSet:
            return "anuraset";
        case Layout::kAnuraSetStrong:
            return "anuraset-strong";
        case Layout::kEsc50:
            return "esc50";
        case Layout::kCsv:
            return "csv";
        case Layout::kTables:
            break;
    }
    return "tables";
}

Dataset read_dataset(const std::filesystem::path& path, const DataOptions& options, double window_seconds) {
    if (!std::filesystem::exists(path)) throw std::runtime_error(fmt::format("{}: does not exist", path.string()));
    const auto layout = options.layout == Layout::kAuto ? find_layout(path) : options.layout;
    if (layout == Layout::kAnuraSet) {
        auto dataset = read_anuraset(path, window_seconds);
        refuse_left_out(dataset, options);
        return dataset;
    }

    const auto folder = folder_of(path);
    Gathered gathered;
    try {
        if (layout == Layout::kAnuraSetStrong) gathered = gather_strong_labels(folder);
        if (layout == Layout::kTables) gathered = gather_tables(folder);
        if (layout == Layout::kEsc50)
            gathered = gather_rows(folder, folder / kEsc50Table,
                                   [&](std::string_view text) { return parse_esc50(text, options.test_fold); });
        if (layout == Layout::kCsv)
            gathered = gather_rows(folder, path == folder ? folder / kLabelCsv : path, parse_label_csv);
        auto dataset = cut(std::move(gathered), folder, options, window_seconds);
        refuse_left_out(dataset, options);
        return dataset;
    } catch (const std::runtime_error& error) {
        const std::string_view what = error.what();
        if (what.starts_with(folder.string())) throw;
        throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
    }
}

Dataset read_by_labels(const std::filesystem::path& folder, const std::filesystem::path& labels,
                       const DataOptions& options, double window_seconds) {
    return cut(gather_rows(folder, labels, parse_label_csv), folder, options, window_seconds);
}

WindowOptions window_options(const DataOptions& options, double window_seconds) {
    return {.window_seconds = window_seconds,
            .hop_seconds = options.window_hop_seconds,
            .overlap_seconds = options.overlap_seconds};
}

void refuse_left_out(const Dataset& dataset, const DataOptions& options) {
    if (!options.strict || dataset.left_out.empty()) return;
    const auto& first = dataset.left_out.front();
    throw std::runtime_error(
        fmt::format("{}: {} (strict: {} in all can't be used)", first.item, first.reason, dataset.left_out.size()));
}

std::map<std::string, Species> species_of(const std::filesystem::path& path) {
    return read_species(folder_of(path));
}

}  // namespace chorus
