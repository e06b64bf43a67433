#include "trainer/labelled_recordings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <stdexcept>

#include "model/bundle.h"
#include "trainer/splits.h"

namespace chorus {
namespace {

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

struct CheckedRecording {
    const LabelledRecording* source = nullptr;
    double seconds = 0.0;
    std::vector<CheckedCall> calls;
};

CheckedRecording check(const LabelledRecording& recording, const CodeFinder& codes, double window_seconds,
                       std::vector<LeftOut>& left_out) {
    const auto info = read_audio_info(recording.audio);
    CheckedRecording checked{.source = &recording, .seconds = info.seconds, .calls = {}};
    for (const auto& annotation : recording.annotations) {
        try {
            checked.calls.push_back(check_annotation(annotation, info, codes));
        } catch (const std::runtime_error& error) {
            left_out.push_back(
                {.item = fmt::format("{}:{}", recording.label_file.string(), annotation.line), .reason = error.what()});
        }
    }
    if (info.seconds + kLengthToleranceSeconds < window_seconds)
        throw std::runtime_error(fmt::format("{}: lasts only {:.2f} s, a window {:g} s", recording.audio.string(),
                                             info.seconds, window_seconds));
    return checked;
}

/// Those that annotations name; "the mean of all" where none does.
std::set<std::optional<int>> channels_of(const CheckedRecording& recording) {
    std::set<std::optional<int>> channels;
    for (const auto& call : recording.calls)
        if (call.channel) channels.insert(call.channel);
    if (channels.empty()) channels.insert(std::nullopt);
    return channels;
}

std::vector<Call> calls_on(const CheckedRecording& recording, std::optional<int> channel,
                           const std::map<std::string, std::size_t>& class_indices) {
    std::vector<Call> calls;
    for (const auto& call : recording.calls) {
        if (call.channel && call.channel != channel) continue;
        Call plain{.start_seconds = call.start_seconds, .end_seconds = call.end_seconds, .class_index = {}};
        if (call.codes.empty()) calls.push_back(plain);
        for (const auto& code : call.codes) {
            plain.class_index = class_indices.at(code);
            calls.push_back(plain);
        }
    }
    return calls;
}

bool has_times(const LabelledRecording& recording) {
    return std::all_of(recording.annotations.begin(), recording.annotations.end(), [](const Annotation& annotation) {
        return annotation.labels.empty() || annotation.end_seconds;
    });
}

/// Of all that decides what is learned, wherever the data set lies.
std::string hash_of(const Dataset& dataset) {
    std::string text;
    for (const auto& code : dataset.classes) text += code + '\n';
    for (const auto& clip : dataset.clips) {
        text += fmt::format("{}\t{}\t{:.6f}\t{}\t{}\t", clip.recording, clip.audio.filename().string(),
                            clip.offset_seconds.value_or(0.0), clip.channel.value_or(-1),
                            clip.subset == Subset::kTest ? "test" : "train");
        for (const auto target : clip.targets) text += target != 0 ? '1' : '0';
        text += '\n';
    }
    return sha256_hex(std::as_bytes(std::span(text)));
}

}  // namespace

CodeFinder::CodeFinder(const std::map<std::string, Species>& species) {
    for (const auto& [code, known] : species)
        if (!known.name.empty()) codes_[lower(known.name)] = code;
}

std::string CodeFinder::code_of(const std::string& label) const {
    if (is_class_code(label)) return label;
    if (const auto found = codes_.find(lower(label)); found != codes_.end()) return found->second;
    auto code = label;
    std::replace(code.begin(), code.end(), ' ', '_');
    if (!is_class_code(code))
        throw std::runtime_error(
            fmt::format("label '{}' is no class code (letters, digits, '_' and '-') nor a name of species.csv", label));
    return code;
}

CheckedCall check_annotation(const Annotation& annotation, const AudioInfo& info, const CodeFinder& codes) {
    const double end = annotation.end_seconds.value_or(info.seconds);
    if (annotation.start_seconds >= info.seconds)
        throw std::runtime_error(
            fmt::format("begins at {:g} s, the recording ends at {:.2f} s", annotation.start_seconds, info.seconds));
    if (annotation.channel && *annotation.channel >= info.channels)
        throw std::runtime_error(fmt::format("names channel {} (from 0) of {}", *annotation.channel, info.channels));
    CheckedCall call{.start_seconds = annotation.start_seconds,
                     .end_seconds = std::min(end, info.seconds),
                     .channel = info.channels == 1 ? std::nullopt : annotation.channel,
                     .codes = {}};
    for (const auto& label : annotation.labels) call.codes.push_back(codes.code_of(label));
    return call;
}

Dataset cut_recordings(std::span<const LabelledRecording> recordings, const std::map<std::string, Species>& species,
                       const CutOptions& options, std::vector<LeftOut> left_out) {
    const CodeFinder codes(species);
    std::vector<CheckedRecording> checked;
    std::map<std::string, std::size_t> class_indices;
    for (const auto& recording : recordings) {
        try {
            checked.push_back(check(recording, codes, options.windows.window_seconds, left_out));
        } catch (const std::runtime_error& error) {
            left_out.push_back(left_out_of(recording.audio, error.what()));
            continue;
        }
        for (const auto& call : checked.back().calls)
            for (const auto& code : call.codes) class_indices[code];
    }

    Dataset dataset;
    dataset.left_out = std::move(left_out);
    for (auto& [code, index] : class_indices) {
        index = dataset.classes.size();
        dataset.classes.push_back(code);
    }
    for (const auto& recording : checked) {
        for (const auto channel : channels_of(recording)) {
            auto calls = calls_on(recording, channel, class_indices);
            auto windows = cut_windows(recording.seconds, calls, dataset.classes.size(), options.windows);
            if (has_times(*recording.source))
                dataset.labelled_channels.push_back({.audio = recording.source->audio,
                                                     .channel = channel,
                                                     .seconds = recording.seconds,
                                                     .calls = std::move(calls)});
            for (auto& window : windows) {
                if (!window.is_labelled && !options.unlabelled_is_absence) continue;
                dataset.clips.push_back({.audio = recording.source->audio,
                                         .offset_seconds = window.start_seconds,
                                         .channel = channel,
                                         .recording = recording.source->recording,
                                         .start_seconds = window.start_seconds,
                                         .subset = recording.source->subset.value_or(
                                             subset_by_name(recording.source->recording, options.test_share)),
                                         .targets = std::move(window.targets)});
            }
        }
    }
    leave_out_shared_recordings(dataset);
    if (dataset.clips.empty() || dataset.classes.empty()) {
        if (dataset.left_out.empty()) throw std::runtime_error("no labelled recording");
        const auto& first = dataset.left_out.front();
        throw std::runtime_error(
            fmt::format("no labelled recording can be used; the first: {}: {}", first.item, first.reason));
    }
    dataset.manifest_hash = hash_of(dataset);
    return dataset;
}

}  // namespace chorus
