#include "trainer/annotation_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "trainer/csv.h"

namespace chorus {
namespace {

constexpr std::size_t kMaxField = 1024;
constexpr int kMaxChannel = 1024;
constexpr std::array<std::string_view, 6> kRavenLabelColumns = {"species code", "species",    "code",
                                                                "label",        "annotation", "tags"};

using Row = std::vector<std::string>;

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r");
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string lower(std::string_view text) {
    std::string small(text);
    std::transform(small.begin(), small.end(), small.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return small;
}

std::string_view without_byte_order_mark(std::string_view text) {
    return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

/// Lines of a text with their numbers; blank ones are passed over.
class Lines {
  public:
    explicit Lines(std::string_view text) : rest_(without_byte_order_mark(text)) {}

    bool next(std::string_view& line) {
        while (!rest_.empty()) {
            const auto end = std::min(rest_.find('\n'), rest_.size());
            line = rest_.substr(0, end);
            rest_.remove_prefix(std::min(end + 1, rest_.size()));
            ++number_;
            if (line.ends_with('\r')) line.remove_suffix(1);
            if (!trimmed(line).empty()) return true;
        }
        return false;
    }
    int number() const { return number_; }

  private:
    std::string_view rest_;
    int number_ = 0;
};

void split_at_tabs(std::string_view line, Row& fields) {
    fields.clear();
    while (true) {
        const auto end = std::min(line.find('\t'), line.size());
        fields.emplace_back(trimmed(line.substr(0, end)));
        if (end == line.size()) return;
        line.remove_prefix(end + 1);
    }
}

double number_of(std::string_view text, std::string_view what) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
        throw std::runtime_error(fmt::format("{} '{}' is no number", what, text.substr(0, kMaxField)));
    return value;
}

double time_of(std::string_view text, std::string_view what) {
    const double seconds = number_of(text, what);
    if (seconds < 0.0 || seconds > kMaxAnnotationSeconds)
        throw std::runtime_error(fmt::format("{} '{}' is no time in a recording", what, text));
    return seconds;
}

int whole_number_of(std::string_view text, std::string_view what, int least, int most) {
    const double value = number_of(text, what);
    if (value != std::floor(value) || value < least || value > most)
        throw std::runtime_error(fmt::format("{} '{}' must be {} to {}", what, text, least, most));
    return static_cast<int>(value);
}

Subset subset_of(std::string_view text) {
    if (text == "train") return Subset::kTrain;
    if (text == "test") return Subset::kTest;
    throw std::runtime_error(fmt::format("subset '{}' is neither train nor test", text.substr(0, kMaxField)));
}

void require_order(const Annotation& annotation) {
    if (annotation.end_seconds && *annotation.end_seconds <= annotation.start_seconds)
        throw std::runtime_error(fmt::format("ends at {:g} s, before or where it begins, at {:g} s",
                                             *annotation.end_seconds, annotation.start_seconds));
}

/// Of a header, by name in lower case.
class Columns {
  public:
    explicit Columns(const Row& header) {
        for (const auto& name : header) names_.push_back(lower(trimmed(name)));
    }
    std::size_t size() const { return names_.size(); }
    std::optional<std::size_t> find(std::string_view name) const {
        const auto found = std::find(names_.begin(), names_.end(), name);
        if (found == names_.end()) return std::nullopt;
        return static_cast<std::size_t>(found - names_.begin());
    }
    std::size_t require(std::string_view name) const {
        const auto column = find(name);
        if (!column) throw std::runtime_error(fmt::format("no column '{}'", name));
        return *column;
    }

  private:
    std::vector<std::string> names_;
};

/// The field of a column that may be absent, or cut off at the line's end.
std::string_view field_of(const Row& fields, std::optional<std::size_t> column) {
    return column && *column < fields.size() ? trimmed(fields[*column]) : std::string_view();
}

/// Calls `read`, which makes an annotation of a line or throws why not.
template <typename Read>
void take_line(AnnotationText& text, int line, const Read& read) {
    if (text.annotations.size() + text.bad_lines.size() >= kMaxAnnotations)
        throw std::runtime_error(fmt::format("more than {} lines", kMaxAnnotations));
    try {
        Annotation annotation = read();
        require_order(annotation);
        annotation.line = line;
        text.annotations.push_back(std::move(annotation));
    } catch (const std::runtime_error& error) {
        text.bad_lines.push_back({.line = line, .reason = error.what()});
    }
}

template <typename Read>
AnnotationText read_csv(std::string_view text, const Read& read_with) {
    CsvReader csv(text);
    Row fields;
    if (!csv.next(fields)) throw std::runtime_error("is empty");
    const Columns columns(fields);
    const auto read = read_with(columns);
    AnnotationText parsed;
    while (csv.next(fields)) {
        take_line(parsed, csv.line(), [&] {
            if (fields.size() != columns.size())
                throw std::runtime_error(fmt::format("{} fields, not {}", fields.size(), columns.size()));
            return read(fields);
        });
    }
    return parsed;
}

}  // namespace

std::vector<std::string> split_labels(std::string_view text) {
    std::vector<std::string> labels;
    while (true) {
        const auto end = std::min(text.find_first_of(";,|"), text.size());
        const auto label = trimmed(text.substr(0, end));
        if (label.size() > kMaxField) throw std::runtime_error(fmt::format("a label of {} characters", label.size()));
        if (!label.empty()) labels.emplace_back(label);
        if (end == text.size()) return labels;
        text.remove_prefix(end + 1);
    }
}

std::string recording_of_table(std::string_view stem) {
    constexpr std::string_view kSelections = ".selections";
    if (stem.ends_with(kSelections)) stem.remove_suffix(kSelections.size());
    return std::string(stem.substr(0, stem.rfind(".Table.")));
}

bool tells_quality(std::string_view label) {
    return label.ends_with("_H") || label.ends_with("_M") || label.ends_with("_L");
}

void strip_quality(std::vector<std::string>& labels) {
    for (auto& label : labels)
        if (tells_quality(label)) label.resize(label.size() - 2);
}

bool is_raven_table(std::string_view text) {
    std::string_view header;
    return Lines(text).next(header) && header.find('\t') != header.npos &&
           lower(header.substr(0, 4 * kMaxField)).find("begin time (s)") != std::string::npos;
}

AnnotationText parse_raven_table(std::string_view text) {
    Lines lines(text);
    std::string_view line;
    if (!lines.next(line)) throw std::runtime_error("is empty");
    Row fields;
    split_at_tabs(line, fields);
    const Columns columns(fields);
    const auto begin = columns.require("begin time (s)");
    const auto end = columns.require("end time (s)");
    const auto channel = columns.find("channel");
    const auto offset = columns.find("file offset (s)");
    const auto file = columns.find("begin file") ? columns.find("begin file") : columns.find("begin path");
    std::optional<std::size_t> label;
    for (const auto name : kRavenLabelColumns)
        if (!label) label = columns.find(name);
    if (!label)
        throw std::runtime_error("no column 'Species', 'Species Code', 'Code', 'Label', 'Annotation' or 'Tags'");

    AnnotationText parsed;
    while (lines.next(line)) {
        split_at_tabs(line, fields);
        take_line(parsed, lines.number(), [&] {
            Annotation annotation;
            const double from = time_of(field_of(fields, begin), "begin time");
            const double length = time_of(field_of(fields, end), "end time") - from;
            const auto within = field_of(fields, offset);
            annotation.file = field_of(fields, file);
            const bool elsewhere = !annotation.file.empty() && !within.empty();
            annotation.start_seconds = elsewhere ? time_of(within, "file offset") : from;
            annotation.end_seconds = annotation.start_seconds + length;
            if (const auto number = field_of(fields, channel); !number.empty())
                annotation.channel = whole_number_of(number, "channel", 1, kMaxChannel) - 1;
            annotation.labels = split_labels(field_of(fields, label));
            if (annotation.labels.empty()) throw std::runtime_error("has no label");
            return annotation;
        });
    }
    return parsed;
}

AnnotationText parse_label_track(std::string_view text) {
    Lines lines(text);
    std::string_view line;
    Row fields;
    AnnotationText parsed;
    while (lines.next(line)) {
        if (line.starts_with('\\')) continue;
        split_at_tabs(line, fields);
        take_line(parsed, lines.number(), [&] {
            if (fields.size() != 3)
                throw std::runtime_error(fmt::format("{} fields, not start, end and label", fields.size()));
            Annotation annotation;
            annotation.start_seconds = time_of(fields[0], "start");
            annotation.end_seconds = time_of(fields[1], "end");
            annotation.labels = split_labels(fields[2]);
            if (annotation.labels.empty()) throw std::runtime_error("has no label");
            return annotation;
        });
    }
    return parsed;
}

AnnotationText parse_esc50(std::string_view text, int test_fold) {
    return read_csv(text, [&](const Columns& columns) {
        const auto file = columns.require("filename");
        const auto fold = columns.require("fold");
        const auto category = columns.require("category");
        const auto source = columns.require("src_file");
        return [=](const Row& fields) {
            Annotation annotation;
            annotation.file = trimmed(fields[file]);
            if (annotation.file.empty()) throw std::runtime_error("names no file");
            annotation.labels = split_labels(fields[category]);
            if (annotation.labels.empty()) throw std::runtime_error("has no category");
            annotation.recording = trimmed(fields[source]);
            annotation.subset =
                whole_number_of(trimmed(fields[fold]), "fold", 1, 1000) == test_fold ? Subset::kTest : Subset::kTrain;
            return annotation;
        };
    });
}

AnnotationText parse_label_csv(std::string_view text) {
    return read_csv(text, [](const Columns& columns) {
        const auto file = columns.require("file");
        const auto start = columns.require("start_s");
        const auto end = columns.require("end_s");
        const auto codes = columns.require("codes");
        const auto channel = columns.find("channel");
        const auto subset = columns.find("subset");
        const auto recording = columns.find("recording");
        return [=](const Row& fields) {
            Annotation annotation;
            annotation.file = trimmed(fields[file]);
            if (annotation.file.empty()) throw std::runtime_error("names no file");
            if (const auto time = trimmed(fields[start]); !time.empty())
                annotation.start_seconds = time_of(time, "start_s");
            if (const auto time = trimmed(fields[end]); !time.empty()) annotation.end_seconds = time_of(time, "end_s");
            annotation.labels = split_labels(fields[codes]);
            if (const auto number = field_of(fields, channel); !number.empty())
                annotation.channel = whole_number_of(number, "channel", 0, kMaxChannel - 1);
            if (const auto name = field_of(fields, subset); !name.empty()) annotation.subset = subset_of(name);
            annotation.recording = field_of(fields, recording);
            return annotation;
        };
    });
}

}  // namespace chorus
