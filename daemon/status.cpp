#include "daemon/status.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "daemon/json_text.h"
#include "daemon/time_format.h"

namespace chorus {
namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

Json channel_json(std::size_t number, const ChannelReport& channel) {
    const auto& [samples, level, faults] = channel;
    Json dropped = Json::object();
    for (const auto reason : kDropReasons)
        dropped[to_string(reason)] = samples.dropped[static_cast<std::size_t>(reason)];
    Json faulty = Json::array();
    for (const auto fault : kChannelFaults) {
        if (has(faults, fault)) faulty.push_back(to_string(fault));
    }
    return {{"channel", number},
            {"faults", faulty},
            {"level_dbfs", std::round(level.rms_dbfs * 10) / 10},
            {"clipped_samples", level.clipped_samples},
            {"samples_in", samples.in},
            {"samples_analysed", samples.analysed},
            {"samples_dropped", dropped},
            {"samples_pending", samples.pending}};
}

Json source_json(const SourceReport& source) {
    const auto& drift = source.clock_drift_ppm;
    Json json;
    json["name"] = source.name;
    json["state"] = to_string(source.state);
    json["error"] = text_or_null(source.error);
    json["sample_rate_hz"] = source.sample_rate_hz;
    json["hop_seconds"] = source.hop_seconds;
    json["clock"] = {{"synced", source.clock_synced},
                     {"drift_ppm", drift ? Json(std::round(*drift * 10) / 10) : Json(nullptr)},
                     {"steps", source.clock_steps}};
    json["reconnects"] = source.reconnects;
    json["gap_seconds"] = std::round(source.gap_seconds * 1e3) / 1e3;
    json["channels"] = Json::array();
    for (std::size_t channel = 0; channel < source.channels.size(); ++channel)
        json["channels"].push_back(channel_json(channel, source.channels[channel]));
    return json;
}

}  // namespace

std::string to_json(const StationStatus& status) {
    Json json;
    json["schema"] = "chorus.status/1";
    json["station"] = status.station;
    json["time"] = to_iso8601(status.time);
    json["seq"] = status.seq;
    json["model"] = status.model.id;
    json["model_error"] = text_or_null(status.model.fault);
    json["shadow"] = text_or_null(status.model.shadow);
    json["version"] = CHORUS_VERSION;
    json["journal"] = {{"waiting", status.events_waiting},
                       {"dropped", status.events_dropped},
                       {"error", text_or_null(status.journal_fault)}};
    json["sources"] = Json::array();
    for (const auto& source : status.sources) json["sources"].push_back(source_json(source));
    return to_text(json);
}

}  // namespace chorus
