#include "daemon/event.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "daemon/json_text.h"
#include "daemon/time_format.h"
#include "model/bundle.h"

namespace chorus {
namespace {

// Scores and milliseconds are told to 1e-6 and 1e-3: enough, and short to read.
double rounded(double value, double scale) {
    return std::round(value * scale) / scale;
}

nlohmann::ordered_json time_or_null(const std::optional<UtcTime>& time) {
    return time ? nlohmann::ordered_json(to_iso8601(*time)) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string to_string(EventPhase phase) {
    switch (phase) {
        case EventPhase::kOpen:
            return "open";
        case EventPhase::kUpdate:
            return "update";
        case EventPhase::kClose:
            return "close";
    }
    return "unknown";
}

std::string event_id(const Event& event) {
    const std::string identity = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", event.station, event.source, event.channel,
                                             event.code, event.model, event.start_sample) +
                                 event.file;
    const std::string hash = sha256_hex(std::as_bytes(std::span(identity)));
    const auto start = event.start.value_or(event.opened);
    const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(start).time_since_epoch().count();

    static constexpr char kAlphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    std::string id;
    for (int shift = 45; shift >= 0; shift -= 5) {
        id += kAlphabet[(static_cast<std::uint64_t>(milliseconds) & 0xffffffffffffU) >> shift & 31U];
    }
    const std::uint64_t high = std::stoull(hash.substr(0, 10), nullptr, 16);
    const std::uint64_t low = std::stoull(hash.substr(10, 10), nullptr, 16);
    for (const std::uint64_t part : {high, low}) {
        for (int shift = 35; shift >= 0; shift -= 5) id += kAlphabet[part >> shift & 31U];
    }
    return id;
}

std::string to_json(const Event& event) {
    nlohmann::ordered_json json;
    json["schema"] = "chorus.event/1";
    json["phase"] = to_string(event.phase);
    json["id"] = event_id(event);
    if (event.seq > 0) json["seq"] = event.seq;
    json["station"] = event.station;
    json["source"] = event.source;
    if (!event.file.empty()) json["file"] = event.file;
    json["channel"] = event.channel;
    json["code"] = event.code;
    json["label"] = event.label;
    json["start"] = time_or_null(event.start);
    json["end"] = time_or_null(event.end);
    json["start_sample"] = event.start_sample;
    json["end_sample"] = event.end_sample;
    json["sample_rate_hz"] = event.sample_rate_hz;
    json["peak_score"] = rounded(event.peak_score, 1e6);
    json["mean_score"] = rounded(event.mean_score, 1e6);
    json["windows"] = event.windows;
    json["hop_seconds"] = event.hop_seconds;
    json["threshold"] = rounded(event.threshold, 1e6);
    json["model"] = event.model;
    json["clock"] = {{"synced", event.clock_synced},
                     {"drift_ppm", event.clock_drift_ppm ? nlohmann::ordered_json(rounded(*event.clock_drift_ppm, 1e1))
                                                         : nlohmann::ordered_json(nullptr)}};
    json["clip"] = event.clip.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(event.clip);
    json["latency_ms"] =
        event.latency_ms ? nlohmann::ordered_json(rounded(*event.latency_ms, 1e3)) : nlohmann::ordered_json(nullptr);
    json["prior"] = event.prior ? nlohmann::ordered_json(rounded(*event.prior, 1e2)) : nlohmann::ordered_json(nullptr);
    json["group"] = event.group ? nlohmann::ordered_json(event.group->id) : nlohmann::ordered_json(nullptr);
    json["group_strongest"] =
        event.group ? nlohmann::ordered_json(event.group->strongest) : nlohmann::ordered_json(nullptr);
    return to_text(json);
}

std::string topic_of(const Event& event) {
    return fmt::format("event.{}.{}.{}.{}", event.station, event.source, event.channel, event.code);
}

}  // namespace chorus
