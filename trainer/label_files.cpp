#include "trainer/label_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "trainer/csv.h"
#include "trainer/splits.h"

namespace chorus {
namespace {

constexpr double kAnuraSetSeconds = 3.0;  // of its clips

/// Of the text's first line.
std::vector<std::string> header_of(std::string_view text) {
    CsvReader csv(text);
    std::vector<std::string> fields;
    csv.next(fields);
    return fields;
}

AnnotationText parse_manifest_clips(std::string_view text) {
    const auto manifest = parse_manifest_rows(text, {}, kAnuraSetSeconds);
    AnnotationText parsed;
    for (const auto& [line, clip, fault] : manifest.rows) {
        if (!fault.empty()) {
            parsed.bad_lines.push_back({.line = line, .reason = fault});
            continue;
        }
        auto& annotation = parsed.annotations.emplace_back();
        annotation.file = clip.audio.filename().string();
        annotation.recording = session_of(clip.recording);
        annotation.subset = clip.subset;
        annotation.line = line;
        for (std::size_t c = 0; c < clip.targets.size(); ++c)
            if (clip.targets[c] != 0) annotation.labels.push_back(manifest.classes[c]);
    }
    return parsed;
}

LabelFormat format_of(const std::filesystem::path& name, std::string_view text) {
    if (name.extension() == ".txt") return is_raven_table(text) ? LabelFormat::kRaven : LabelFormat::kAudacity;
    if (name.extension() != ".csv") throw std::runtime_error("is neither .txt nor .csv");
    const auto header = header_of(text);
    const bool is_manifest = std::find(header.begin(), header.end(), "fname") != header.end();
    return is_manifest ? LabelFormat::kAnuraSet : LabelFormat::kCsv;
}

AnnotationText parse(LabelFormat format, std::string_view text) {
    if (format == LabelFormat::kRaven) return parse_raven_table(text);
    if (format == LabelFormat::kAudacity) return parse_label_track(text);
    if (format == LabelFormat::kAnuraSet) return parse_manifest_clips(text);
    auto parsed = parse_label_csv(text);
    if (parsed.annotations.empty() && parsed.bad_lines.empty()) throw std::runtime_error("has no rows");
    return parsed;
}

/// Tables that name no file are about the recording of their own name.
void name_recordings(std::vector<Annotation>& annotations, const std::string& stem) {
    if (annotations.empty()) annotations.emplace_back();
    for (auto& annotation : annotations) {
        const auto named = std::filesystem::path(annotation.file).stem().string();
        annotation.file = named.empty() ? recording_of_table(stem) : named;
    }
}

bool all_tell_quality(const std::vector<Annotation>& annotations) {
    return !annotations.empty() && std::all_of(annotations.begin(), annotations.end(), [](const Annotation& each) {
        return std::all_of(each.labels.begin(), each.labels.end(), tells_quality);
    });
}

}  // namespace

std::string to_string(LabelFormat format) {
    switch (format) {
        case LabelFormat::kRaven:
            return "raven";
        case LabelFormat::kAudacity:
            return "audacity";
        case LabelFormat::kAnuraSetStrong:
            return "anuraset-strong";
        case LabelFormat::kAnuraSet:
            return "anuraset";
        case LabelFormat::kCsv:
            break;
    }
    return "csv";
}

bool is_table(LabelFormat format) {
    return format != LabelFormat::kAnuraSet && format != LabelFormat::kCsv;
}

LabelFile parse_label_file(const std::string& name, std::string_view text) {
    LabelFile file;
    AnnotationText parsed;
    try {
        file.format = format_of(name, text);
        parsed = parse(file.format, text);
    } catch (const std::runtime_error& error) {
        throw BadLabelFile({fmt::format("{}: {}", name, error.what())});
    }
    if (!parsed.bad_lines.empty()) {
        std::vector<std::string> reasons;
        for (const auto& [line, reason] : parsed.bad_lines)
            reasons.push_back(fmt::format("{}:{}: {}", name, line, reason));
        throw BadLabelFile(std::move(reasons));
    }
    file.annotations = std::move(parsed.annotations);
    if (file.format == LabelFormat::kAudacity && all_tell_quality(file.annotations)) {
        file.format = LabelFormat::kAnuraSetStrong;
        for (auto& annotation : file.annotations) strip_quality(annotation.labels);
    }
    if (is_table(file.format)) name_recordings(file.annotations, std::filesystem::path(name).stem().string());
    return file;
}

}  // namespace chorus
