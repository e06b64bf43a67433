#include "trainer/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_set>

#include "model/bundle.h"
#include "trainer/csv.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

constexpr std::array<std::string_view, 8> kOtherColumns = {"sample_name", "fname", "min_t",          "max_t",
                                                           "site",        "date",  "species_number", "subset"};

/// As long as a bundle takes.
constexpr std::size_t kMaxCode = 256;

using Row = std::vector<std::string>;

struct Columns {
    std::size_t recording = 0;
    std::size_t start = 0;
    std::size_t end = 0;
    std::size_t subset = 0;
    std::vector<std::size_t> classes;
};

struct NumberedRow {
    int line = 0;
    Row fields;
};

std::optional<double> parse_number(std::string_view text) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
    return value;
}

std::optional<std::uint8_t> parse_presence(std::string_view text) {
    const auto value = parse_number(text);
    if (!value || (*value != 0.0 && *value != 1.0)) return std::nullopt;
    return static_cast<std::uint8_t>(*value);
}

/// Part of a path below audio/, so it must not lead out of it.
bool is_plain_name(std::string_view text) {
    return !text.empty() && !text.starts_with('.') &&
           text.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

std::size_t find_column(const Row& header, std::string_view name) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) throw std::runtime_error(fmt::format("no column '{}'", name));
    return static_cast<std::size_t>(found - header.begin());
}

/// Species columns are those after `subset` that are mostly 0 or 1: a stray value spoils its row, not its column.
std::vector<std::size_t> find_class_columns(const Row& header, std::size_t subset,
                                            const std::vector<NumberedRow>& rows) {
    std::vector<std::size_t> columns;
    std::set<std::string_view> names;
    for (std::size_t column = subset + 1; column < header.size(); ++column) {
        if (std::find(kOtherColumns.begin(), kOtherColumns.end(), header[column]) != kOtherColumns.end()) continue;
        const auto presences = std::count_if(rows.begin(), rows.end(), [&](const NumberedRow& row) {
            return column < row.fields.size() && parse_presence(row.fields[column]).has_value();
        });
        if (2 * static_cast<std::size_t>(presences) <= rows.size()) continue;
        if (!is_class_code(header[column]))
            throw std::runtime_error(
                fmt::format("column '{}' is no class code (letters, digits, '_' and '-')", header[column]));
        if (!names.insert(header[column]).second)
            throw std::runtime_error(fmt::format("two columns '{}'", header[column]));
        columns.push_back(column);
    }
    if (columns.empty()) throw std::runtime_error("no 0/1 column after 'subset'");
    return columns;
}

class RowReader {
  public:
    RowReader(std::filesystem::path directory, Columns columns, std::size_t width, double window_seconds)
        : directory_(std::move(directory)),
          columns_(std::move(columns)),
          width_(width),
          window_seconds_(window_seconds) {}

    /// Throws std::runtime_error with the reason a row can't be used.
    Clip read(const Row& row) {
        if (row.size() != width_) throw std::runtime_error(fmt::format("{} fields, not {}", row.size(), width_));
        Clip clip;
        clip.recording = row[columns_.recording];
        if (!is_plain_name(clip.recording))
            throw std::runtime_error(fmt::format("fname '{}' is no plain name", clip.recording));
        clip.subset = read_subset(row[columns_.subset]);
        const auto start = read_time(row[columns_.start], "min_t");
        const auto end = read_time(row[columns_.end], "max_t");
        if (std::abs(end - start - window_seconds_) > 1e-6)
            throw std::runtime_error(fmt::format("lasts {:g} s, a window {:g} s", end - start, window_seconds_));
        clip.start_seconds = start;
        for (const auto column : columns_.classes) {
            const auto presence = parse_presence(row[column]);
            if (!presence) throw std::runtime_error(fmt::format("'{}' is neither 0 nor 1", row[column]));
            clip.targets.push_back(*presence);
        }
        const auto site = clip.recording.substr(0, clip.recording.find('_'));
        const auto name = fmt::format("{}_{}_{}.wav", clip.recording, row[columns_.start], row[columns_.end]);
        clip.audio = directory_ / "audio" / site / name;
        if (!seen_.insert(name).second) throw std::runtime_error("a second row for " + name);
        return clip;
    }

  private:
    static Subset read_subset(std::string_view text) {
        if (text == "train") return Subset::kTrain;
        if (text == "test") return Subset::kTest;
        throw std::runtime_error(fmt::format("subset '{}' is neither train nor test", text));
    }

    static double read_time(std::string_view text, std::string_view column) {
        const auto value = parse_number(text);
        if (!value || *value < 0.0)
            throw std::runtime_error(fmt::format("{} '{}' is no time in seconds", column, text));
        return *value;
    }

    std::filesystem::path directory_;
    Columns columns_;
    std::size_t width_;
    double window_seconds_;
    std::unordered_set<std::string> seen_;
};

}  // namespace

bool is_class_code(std::string_view text) {
    return !text.empty() && text.size() <= kMaxCode && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
    });
}

LeftOut left_out_of(const std::filesystem::path& path, std::string_view what) {
    const auto prefix = path.string() + ": ";
    return {.item = path.string(), .reason = std::string(what.starts_with(prefix) ? what.substr(prefix.size()) : what)};
}

std::vector<std::size_t> take_classes(Dataset& dataset, const std::vector<std::string>& codes) {
    std::vector<std::size_t> had;
    std::vector<std::size_t> columns;  // of those, among the dataset's own
    for (std::size_t place = 0; place < codes.size(); ++place) {
        const auto found = std::find(dataset.classes.begin(), dataset.classes.end(), codes[place]);
        if (found == dataset.classes.end()) continue;
        had.push_back(place);
        columns.push_back(static_cast<std::size_t>(found - dataset.classes.begin()));
    }
    for (auto& clip : dataset.clips) {
        std::vector<std::uint8_t> targets(codes.size());
        for (std::size_t i = 0; i < had.size(); ++i) targets[had[i]] = clip.targets[columns[i]];
        clip.targets = std::move(targets);
    }
    for (auto& channel : dataset.labelled_channels) {
        std::vector<Call> calls;
        for (auto call : channel.calls) {
            const auto kept = std::find(columns.begin(), columns.end(), call.class_index);
            if (kept == columns.end()) continue;
            call.class_index = had[static_cast<std::size_t>(kept - columns.begin())];
            calls.push_back(call);
        }
        channel.calls = std::move(calls);
    }
    dataset.classes = codes;
    return had;
}

void leave_out_shared_recordings(Dataset& dataset) {
    std::unordered_set<std::string> tested;
    for (const auto& clip : dataset.clips)
        if (clip.subset == Subset::kTest) tested.insert(clip.recording);
    std::erase_if(dataset.clips, [&](const Clip& clip) {
        if (clip.subset == Subset::kTest || !tested.contains(clip.recording)) return false;
        dataset.left_out.push_back({.item = clip.audio.string(), .reason = "its recording is also in the test subset"});
        return true;
    });
}

Manifest parse_manifest_rows(std::string_view text, const std::filesystem::path& directory, double window_seconds) {
    CsvReader csv(text);
    Row header;
    if (!csv.next(header)) throw std::runtime_error("is empty");
    std::vector<NumberedRow> rows;
    for (Row row; csv.next(row);) rows.push_back({.line = csv.line(), .fields = row});
    if (rows.empty()) throw std::runtime_error("has no rows");

    Columns columns{.recording = find_column(header, "fname"),
                    .start = find_column(header, "min_t"),
                    .end = find_column(header, "max_t"),
                    .subset = find_column(header, "subset"),
                    .classes = {}};
    columns.classes = find_class_columns(header, columns.subset, rows);

    Manifest manifest;
    for (const auto column : columns.classes) manifest.classes.push_back(header[column]);
    RowReader reader(directory, columns, header.size(), window_seconds);
    for (const auto& [line, fields] : rows) {
        auto& row = manifest.rows.emplace_back();
        row.line = line;
        try {
            row.clip = reader.read(fields);
        } catch (const std::runtime_error& reason) {
            row.fault = reason.what();
        }
    }
    return manifest;
}

Dataset parse_manifest(std::string_view text, const std::filesystem::path& directory, double window_seconds) {
    auto manifest = parse_manifest_rows(text, directory, window_seconds);
    Dataset dataset;
    dataset.classes = std::move(manifest.classes);
    for (auto& [line, clip, fault] : manifest.rows) {
        std::error_code error;
        if (!fault.empty())
            dataset.left_out.push_back({.item = fmt::format("metadata.csv:{}", line), .reason = std::move(fault)});
        else if (!std::filesystem::is_regular_file(clip.audio, error))
            dataset.left_out.push_back({.item = clip.audio.string(), .reason = "no such file"});
        else
            dataset.clips.push_back(std::move(clip));
    }
    leave_out_shared_recordings(dataset);
    if (dataset.clips.empty()) {
        const auto& first = dataset.left_out.front();
        throw std::runtime_error(fmt::format("none of {} rows can be used; the first: {}: {}", manifest.rows.size(),
                                             first.item, first.reason));
    }
    return dataset;
}

Dataset read_anuraset(const std::filesystem::path& directory, double window_seconds) {
    const auto path = directory / "metadata.csv";
    const auto text = read_text(path);
    try {
        auto dataset = parse_manifest(text, directory, window_seconds);
        dataset.manifest_hash = sha256_hex(std::as_bytes(std::span(text)));
        return dataset;
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", path.string(), error.what()));
    }
}

std::map<std::string, Species> parse_species(std::string_view text) {
    CsvReader csv(text);
    Row header;
    if (!csv.next(header)) throw std::runtime_error("is empty");
    const auto code = find_column(header, "code");
    const auto name = find_column(header, "name");
    const auto group = find_column(header, "group");
    std::map<std::string, Species> species;
    for (Row row; csv.next(row);) {
        if (row.size() != header.size())
            throw std::runtime_error(
                fmt::format("line {}: {} fields instead of {}", csv.line(), row.size(), header.size()));
        species[row[code]] = {.name = row[name], .group = row[group]};
    }
    return species;
}

std::map<std::string, Species> read_species(const std::filesystem::path& directory) {
    const auto path = directory / "species.csv";
    if (!std::filesystem::exists(path)) return {};
    const auto text = read_text(path);
    try {
        return parse_species(text);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", path.string(), error.what()));
    }
}

std::vector<int> count_positives(const Dataset& dataset, Subset subset) {
    std::vector<int> positives(dataset.classes.size());
    for (const auto& clip : dataset.clips) {
        if (clip.subset != subset) continue;
        for (std::size_t c = 0; c < positives.size(); ++c) positives[c] += clip.targets[c];
    }
    return positives;
}

}  // namespace chorus
