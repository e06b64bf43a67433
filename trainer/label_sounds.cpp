#include "trainer/label_sounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace chorus {
namespace {

namespace fs = std::filesystem;

LabelledSpan to_span(const Annotation& annotation, const CheckedCall& call) {
    const auto to_microsecond = [](double seconds) { return std::round(seconds * 1e6) / 1e6; };
    LabelledSpan span{.channel = call.channel,
                      .start_seconds = to_microsecond(call.start_seconds),
                      .end_seconds = to_microsecond(call.end_seconds),
                      .codes = call.codes,
                      .is_whole_file = !annotation.end_seconds && annotation.start_seconds == 0.0};
    if (span.end_seconds <= span.start_seconds) throw std::runtime_error("lasts less than a microsecond");
    std::sort(span.codes.begin(), span.codes.end());
    span.codes.erase(std::unique(span.codes.begin(), span.codes.end()), span.codes.end());
    return span;
}

/// What goes into the history.
void require_plain_text(const std::string& text, std::string_view what) {
    if (!is_plain_text(text)) throw std::runtime_error(fmt::format("{} isn't UTF-8 or holds control characters", what));
}

AudioInfo info_of(const fs::path& sound) {
    require_plain_text(sound.string(), "its recording's path");
    try {
        return read_audio_info(sound);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(
            fmt::format("{}: {}", sound.filename().string(), left_out_of(sound, error.what()).reason));
    }
}

}  // namespace

bool is_being_written(const fs::path& path, std::chrono::seconds settling) {
    std::error_code error;
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(path, error);
    return !error && age < settling && age >= std::chrono::seconds(0);
}

bool is_plain_text(const std::string& text) {
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
    try {
        return !nlohmann::json(text).dump().empty();
    } catch (const nlohmann::json::type_error&) {  // not UTF-8
        return false;
    }
}

LabelSounds::LabelSounds(fs::path inbox, const fs::path& clips, const fs::path& audio, CodeFinder codes,
                         std::chrono::seconds settling)
    : inbox_(std::move(inbox)), codes_(std::move(codes)), settling_(settling) {
    indexes_.emplace_back(inbox_);
    for (const auto& folder : {clips, audio})
        if (fs::is_directory(folder)) indexes_.emplace_back(folder);
}

const fs::path* LabelSounds::find(const fs::path& path, LabelFormat format, const std::string& name) const {
    const auto folder = path.parent_path();
    const auto beside = (folder.lexically_relative(inbox_) / name).lexically_normal().string();
    for (const auto& index : indexes_) {
        const bool is_inbox = &index == &indexes_.front();
        const auto* found =
            is_table(format) ? index.find_stem(name, folder) : index.find_name(is_inbox ? beside : name);
        if (found != nullptr) return found;
    }
    return nullptr;
}

bool LabelSounds::is_settled(const fs::path& sound) const {
    return !std::binary_search(in_inbox().begin(), in_inbox().end(), sound) || !is_being_written(sound, settling_);
}

Heard LabelSounds::hear(const fs::path& path, const LabelFile& labels) const {
    Heard heard;
    std::map<fs::path, AudioInfo> infos;
    std::set<std::string> missing;
    std::set<std::string> unsettled;
    std::vector<std::string> faults;
    for (const auto& annotation : labels.annotations) {
        try {
            const auto* sound = find(path, labels.format, annotation.file);
            if (sound == nullptr) {
                missing.insert(annotation.file);
                continue;
            }
            if (!is_settled(*sound)) {
                unsettled.insert(sound->filename().string());
                continue;
            }
            require_plain_text(annotation.recording, "recording");
            if (!infos.contains(*sound)) infos[*sound] = info_of(*sound);
            auto& told = heard.told[*sound];
            told.labels.push_back(to_span(annotation, check_annotation(annotation, infos[*sound], codes_)));
            if (told.recording.empty()) told.recording = annotation.recording;
            if (annotation.subset) told.subsets.insert(*annotation.subset);
        } catch (const std::runtime_error& error) {
            const auto line = annotation.line > 0 ? fmt::format(":{}", annotation.line) : "";
            faults.push_back(fmt::format("{}{}: {}", path.filename().string(), line, error.what()));
        }
    }
    if (!faults.empty()) throw BadLabelFile(std::move(faults));
    for (const auto& name : missing)
        heard.missing.push_back(
            fmt::format("{}: no recording '{}' beside it, elsewhere in the inbox, in the clips or in the data set",
                        path.filename().string(), name));
    for (const auto& name : unsettled)
        heard.unsettled.push_back(fmt::format("{} changed less than {} s ago", name, settling_.count()));
    return heard;
}

}  // namespace chorus
