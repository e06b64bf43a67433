#include "trainer/label_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>

#include "trainer/durable_file.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

using json = nlohmann::ordered_json;

constexpr auto kSchema = "chorus.import/1";
constexpr std::array kFormats = {LabelFormat::kRaven, LabelFormat::kAudacity, LabelFormat::kAnuraSetStrong,
                                 LabelFormat::kAnuraSet, LabelFormat::kCsv};

LabelFormat format_of(const std::string& name) {
    for (const auto format : kFormats)
        if (to_string(format) == name) return format;
    throw std::runtime_error(fmt::format("unknown format '{}'", name));
}

std::string to_string(Subset subset) {
    return subset == Subset::kTest ? "test" : "train";
}

Subset subset_of(const std::string& name) {
    if (name != "train" && name != "test") throw std::runtime_error(fmt::format("unknown subset '{}'", name));
    return name == "test" ? Subset::kTest : Subset::kTrain;
}

json to_json(const LabelledSpan& label) {
    json line = {{"start_s", label.start_seconds}, {"end_s", label.end_seconds}, {"codes", label.codes}};
    if (label.channel) line["channel"] = *label.channel;
    if (label.is_whole_file) line["whole_file"] = true;
    return line;
}

std::string to_line(const LabelImport& import) {
    json recordings = json::array();
    for (const auto& recording : import.recordings) {
        json labels = json::array();
        for (const auto& label : recording.labels) labels.push_back(to_json(label));
        recordings.push_back({{"file", recording.file},
                              {"from", recording.from},
                              {"recording", recording.recording},
                              {"subset", to_string(recording.subset)},
                              {"labels", std::move(labels)}});
    }
    return json{{"schema", kSchema},
                {"utc", import.utc},
                {"file", import.file},
                {"sha256", import.sha256},
                {"format", to_string(import.format)},
                {"recordings", std::move(recordings)}}
        .dump();
}

LabelImport parse_line(std::string_view text) {
    const auto line = json::parse(text);
    if (line.at("schema") != kSchema) throw std::runtime_error("is of another format");
    LabelImport import{.utc = line.at("utc"),
                       .file = line.at("file"),
                       .sha256 = line.at("sha256"),
                       .format = format_of(line.at("format")),
                       .recordings = {}};
    for (const auto& entry : line.at("recordings")) {
        ImportedRecording recording{.file = entry.at("file"),
                                    .from = entry.at("from"),
                                    .recording = entry.at("recording"),
                                    .subset = subset_of(entry.at("subset")),
                                    .labels = {}};
        for (const auto& label : entry.at("labels")) {
            LabelledSpan span{.channel = {},
                              .start_seconds = label.at("start_s"),
                              .end_seconds = label.at("end_s"),
                              .codes = label.at("codes"),
                              .is_whole_file = label.value("whole_file", false)};
            if (label.contains("channel")) span.channel = label.at("channel").get<int>();
            recording.labels.push_back(std::move(span));
        }
        import.recordings.push_back(std::move(recording));
    }
    return import;
}

auto place_of(const LabelledSpan& span) {
    return std::tuple(span.channel, span.start_seconds, span.end_seconds);
}

/// Stretches that don't touch one another, by their start.
using Stretches = std::map<double, double>;

void unite(Stretches& stretches, double start, double end) {
    auto next = stretches.upper_bound(start);
    if (next != stretches.begin() && std::prev(next)->second >= start) --next;
    while (next != stretches.end() && next->first <= end) {
        start = std::min(start, next->first);
        end = std::max(end, next->second);
        next = stretches.erase(next);
    }
    stretches[start] = end;
}

/// What is left of a span, as spans.
std::vector<LabelledSpan> without(const LabelledSpan& span, const Stretches& stretches) {
    std::vector<LabelledSpan> left;
    double from = span.start_seconds;
    const auto keep_until = [&](double to) {
        if (to <= from) return;
        left.push_back(span);
        left.back().start_seconds = from;
        left.back().end_seconds = to;
        left.back().is_whole_file = span.is_whole_file && from == span.start_seconds && to == span.end_seconds;
    };
    auto next = stretches.upper_bound(span.start_seconds);
    if (next != stretches.begin()) --next;
    for (; next != stretches.end() && next->first < span.end_seconds; ++next) {
        keep_until(next->first);
        from = std::max(from, next->second);
    }
    keep_until(span.end_seconds);
    return left;
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == text.npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + '"';
}

}  // namespace

LabelHistory::LabelHistory(const std::filesystem::path& dataset) : path_(dataset / "history.jsonl") {
    if (!std::filesystem::exists(path_)) return;
    const auto text = read_text(path_);
    int number = 0;
    for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != text.npos; at = end + 1) {
        ++number;
        try {
            const auto import = parse_line(std::string_view(text).substr(at, end - at));
            take(import, after(import));
        } catch (const std::exception& error) {
            throw std::runtime_error(
                fmt::format("{}:{}: is no import of labels: {}", path_.string(), number, error.what()));
        }
    }
}

std::vector<LabelHistory::Label> LabelHistory::merge(std::vector<Label> earlier, const std::vector<LabelledSpan>& later,
                                                     const std::string& table) {
    if (!table.empty()) std::erase_if(earlier, [&](const Label& label) { return label.table == table; });
    std::set<decltype(place_of(later.front()))> places;
    std::map<std::optional<int>, Stretches> silent;  // by channel
    for (const auto& span : later) {
        places.insert(place_of(span));
        if (span.codes.empty()) unite(silent[span.channel], span.start_seconds, span.end_seconds);
    }
    std::vector<Label> merged;
    for (const auto& [span, its_table] : earlier) {
        if (places.contains(place_of(span))) continue;
        std::vector<LabelledSpan> left = {span};
        for (const auto& [channel, stretches] : silent) {
            if (channel && channel != span.channel) continue;
            std::vector<LabelledSpan> less;
            for (const auto& piece : left)
                for (auto& rest : without(piece, stretches)) less.push_back(std::move(rest));
            left = std::move(less);
        }
        for (auto& piece : left) merged.push_back({.span = std::move(piece), .table = its_table});
    }
    for (const auto& span : later) merged.push_back({.span = span, .table = table});
    std::sort(merged.begin(), merged.end());
    merged.erase(std::unique(merged.begin(), merged.end()), merged.end());
    return merged;
}

LabelHistory::Recordings LabelHistory::after(const LabelImport& import) const {
    Recordings changed;
    const auto table = is_table(import.format) ? import.file : std::string();
    for (const auto& imported : import.recordings) {
        const auto known = recordings_.find(imported.file);
        auto& recording = changed[imported.file];
        if (known != recordings_.end()) {
            recording = known->second;
        } else {
            recording.recording = imported.recording;
            recording.subset = imported.subset;
        }
        recording.labels = merge(std::move(recording.labels), imported.labels, table);
    }
    return changed;
}

void LabelHistory::take(const LabelImport& import, Recordings changed) {
    for (auto& [file, recording] : changed) {
        subsets_.emplace(recording.recording, recording.subset);
        recordings_[file] = std::move(recording);
    }
    for (const auto& recording : import.recordings) origins_.insert(recording.from);
    last_ = import;
}

bool LabelHistory::add(const LabelImport& import) {
    auto changed = after(import);
    const bool is_news = std::any_of(changed.begin(), changed.end(), [&](const auto& each) {
        const auto known = recordings_.find(each.first);
        return known == recordings_.end() || known->second != each.second;
    });
    if (!is_news) return false;
    append_line(path_, to_line(import));
    take(import, std::move(changed));
    return true;
}

std::optional<Subset> LabelHistory::subset_of(const std::string& recording) const {
    const auto found = subsets_.find(recording);
    return found == subsets_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* LabelHistory::recording_of(const std::string& file) const {
    const auto found = recordings_.find(file);
    return found == recordings_.end() ? nullptr : &found->second.recording;
}

std::size_t LabelHistory::labels() const {
    std::size_t count = 0;
    for (const auto& [file, recording] : recordings_) count += recording.labels.size();
    return count;
}

std::set<std::string> LabelHistory::codes() const {
    std::set<std::string> codes;
    for (const auto& [file, recording] : recordings_)
        for (const auto& label : recording.labels) codes.insert(label.span.codes.begin(), label.span.codes.end());
    return codes;
}

std::string LabelHistory::labels_csv() const {
    if (recordings_.empty()) return {};
    std::string text = "file,start_s,end_s,codes,channel,subset,recording\n";
    for (const auto& [file, recording] : recordings_) {
        for (const auto& [span, table] : recording.labels)
            text += fmt::format("{},{},{},{},{},{}\n", csv_field(file),
                                span.is_whole_file ? "," : fmt::format("{},{}", span.start_seconds, span.end_seconds),
                                fmt::join(span.codes, ";"), span.channel ? std::to_string(*span.channel) : "",
                                to_string(recording.subset), csv_field(recording.recording));
    }
    return text;
}

}  // namespace chorus
