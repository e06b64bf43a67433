#include "daemon/config.h"

#include <fmt/format.h>
#include <spdlog/common.h>

#include <algorithm>
#include <set>

#include "config/config_reader.h"
#include "daemon/alsa_cards.h"
#include "daemon/time_format.h"
#include "streaming/audio_source.h"
#include "streaming/recorder_time.h"

namespace chorus {
namespace {

constexpr int kMostSources = 256;

std::string launch_of(ConfigSection& section, const std::string& form) {
    if (form == "launch") return section.required_text("launch");
    if (form == "file") return launch_for_file(section.required_text("file"));
    if (form == "alsa") return launch_for_alsa(section.required_text("alsa"));
    if (form == "pulse") return launch_for_pulse(section.text("pulse", ""));
    if (form == "rtsp") {
        const auto url = section.required_text("rtsp");
        if (!url.empty() && !url.starts_with("rtsp://") && !url.starts_with("rtsps://")) {
            section.fault("rtsp", "must begin with rtsp:// or rtsps://");
        }
        const auto latency = static_cast<int>(section.integer("latency_ms", 500, 0, 60'000));
        return launch_for_rtsp(url, latency);
    }
    auto rtp = section.section("rtp");
    RtpOptions options;
    options.address = rtp.text("address", options.address);
    if (!rtp.has("port")) rtp.fault("port", "is missing");
    options.port = static_cast<int>(rtp.integer("port", 5004, 1, 65535));
    options.encoding = rtp.choice("encoding", {"L16", "L24", "OPUS"}, options.encoding);
    options.rate_hz = static_cast<int>(rtp.integer("rate_hz", options.rate_hz, 8000, 384'000));
    options.channels = static_cast<int>(rtp.integer("channels", options.channels, 1, 63));
    return launch_for_rtp(options);
}

std::chrono::milliseconds seconds(double value) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(value * 1000.0 + 0.5));
}

std::optional<Position> read_position(ConfigSection station) {
    const Position position{.latitude_deg = station.number("latitude", 0.0, -90.0, 90.0),
                            .longitude_deg = station.number("longitude", 0.0, -180.0, 180.0)};
    if (station.has("latitude") != station.has("longitude")) station.fault("", "needs both latitude and longitude");
    return station.has("latitude") && station.has("longitude") ? std::optional(position) : std::nullopt;
}

Schedule read_schedule(ConfigSection& section, const std::optional<Position>& position) {
    Schedule schedule;
    for (const auto& entry : section.texts("schedule")) {
        try {
            schedule.add(entry, position);
        } catch (const std::invalid_argument& error) {
            section.fault("schedule", error.what());
        }
    }
    return schedule;
}

std::optional<UtcTime> read_start(ConfigSection& section, const SourceConfig& source) {
    if (const auto text = section.text("start", ""); !text.empty()) {
        const auto start = from_iso8601(text);
        if (!start) section.fault("start", "must be UTC as in 2026-11-23T02:14:07Z");
        return start;
    }
    if (!source.is_file) return std::nullopt;
    const auto start = recording_start(section.text("file", ""));
    if (!start.warning.empty()) section.warn("file", start.warning);
    return start.utc;
}

// A card is waited for by its name; its number may be another card's the next time.
std::string read_alsa_card(ConfigSection& section) {
    const auto card = alsa_card_of(section.text("alsa", ""));
    if (!is_card_number(card)) return card;
    section.warn("alsa",
                 fmt::format("card {} may be another one after the next start: hw:CARD=NAME stays (arecord -L)", card));
    return "";
}

SourceConfig read_source(ConfigSection section, const std::optional<Position>& position) {
    SourceConfig source;
    source.name = section.required_name("name");

    static const std::vector<std::string> kForms = {"launch", "file", "alsa", "pulse", "rtsp", "rtp"};
    std::vector<std::string> given;
    std::copy_if(kForms.begin(), kForms.end(), std::back_inserter(given),
                 [&](const auto& f) { return section.has(f); });
    if (given.empty()) section.fault("", "needs one of launch, file, alsa, pulse, rtsp, rtp");
    // Every form is read even when there are too many, so that each one's own faults are said, too.
    for (const auto& form : given) source.launch = launch_of(section, form);
    if (given.size() == 1 && !source.launch.empty()) {
        try {
            check_launch(source.launch);
        } catch (const std::exception& error) {
            section.fault(given[0], error.what());
        }
    }
    if (given.size() > 1) section.fault(given[1], fmt::format("is one too many: {} is there already", given[0]));

    source.is_file = given.size() == 1 && given[0] == "file";
    if (std::error_code error; source.is_file) {
        // Opening a FIFO or a device as a file may wait for ever.
        const auto status = std::filesystem::status(section.text("file", ""), error);
        if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
            section.fault("file", "is not a regular file");
    }
    source.realtime = section.flag("realtime", false);
    source.start = read_start(section, source);
    if (given.size() == 1 && given[0] == "alsa") source.alsa_card = read_alsa_card(section);
    if (section.has("silence_timeout_seconds"))
        source.silence_timeout = seconds(section.number("silence_timeout_seconds", 10.0, 0.5, 3600.0));
    source.schedule = read_schedule(section, position);
    for (const char* key : {"schedule", "silence_timeout_seconds"}) {
        if (section.has(key) && source.is_file) section.fault(key, "is not for files");
    }
    for (const char* key : {"realtime", "start"}) {
        if (section.has(key) && !source.is_file && !given.empty()) section.fault(key, "is for files only");
    }
    return source;
}

DetectionConfig read_detection(ConfigSection section) {
    DetectionConfig detection;
    detection.threshold_scale = section.number("threshold_scale", detection.threshold_scale, 0.01, 100.0);
    detection.thresholds = section.numbers("thresholds", 0.0, 1.0);
    detection.hysteresis = section.number("hysteresis", detection.hysteresis, 0.0, 1.0);
    detection.min_windows = static_cast<int>(section.integer("min_windows", detection.min_windows, 1, 1000));
    detection.merge_gap_seconds = section.number("merge_gap_seconds", detection.merge_gap_seconds, 0.0, 3600.0);
    detection.update_seconds = section.number("update_seconds", detection.update_seconds, 0.1, 86'400.0);
    return detection;
}

// PREFIX, 127.0.0.1 or [::1], ':', and one port (or '*', a free one) with nothing after it.
bool is_loopback_address(std::string_view text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return false;
    const auto host = text.substr(0, colon);
    const auto port = text.substr(colon + 1);
    if (host != "127.0.0.1" && host != "[::1]") return false;
    if (port == "*") return !prefix.empty();
    const bool digits =
        !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string_view::npos;
    return digits && std::stoi(std::string(port)) <= 65'535;
}

Config read_config(ConfigSection root) {
    Config config;
    auto station = root.section("station");
    config.station = station.required_name("name");
    config.position = read_position(station);

    auto model = root.section("model");
    config.bundle = model.required_text("bundle");
    config.device = model.text("device", config.device);
    const bool cuda = config.device.starts_with("cuda:") && config.device.size() > 5 &&
                      config.device.find_first_not_of("0123456789", 5) == std::string::npos;
    if (config.device != "auto" && config.device != "cpu" && !cuda) {
        model.fault("device", fmt::format("\"{}\" must be auto, cpu or cuda:N", config.device));
    }
    config.threads = static_cast<int>(model.integer("threads", config.threads, 0, 256));

    auto analysis = root.section("analysis");
    config.hop_seconds = analysis.number("hop_seconds", config.hop_seconds, 0.05, 60.0);
    config.max_batch = static_cast<int>(analysis.integer("max_batch", config.max_batch, 1, 64));
    config.max_batch_delay = seconds(analysis.number("max_batch_delay_seconds", 0.02, 0.0, 10.0));
    config.queue_windows = static_cast<int>(analysis.integer("queue_windows", config.queue_windows, 1, 65536));
    config.silence_timeout = seconds(analysis.number("silence_timeout_seconds", 10.0, 0.5, 3600.0));

    config.detection = read_detection(root.section("detection"));

    std::set<std::string> names;
    for (auto& section : root.sections("source")) {
        config.sources.push_back(read_source(section, config.position));
        const auto& name = config.sources.back().name;
        if (!name.empty() && !names.insert(name).second)
            section.fault("name", fmt::format("\"{}\" is used twice", name));
    }
    if (!root.has("source")) root.fault("source", "at least one [[source]] is needed");
    if (config.sources.size() > kMostSources) root.fault("source", fmt::format("more than {} sources", kMostSources));

    auto publish = root.section("publish");
    config.publish_endpoint = publish.text("endpoint", config.publish_endpoint);
    if (!is_loopback_address(config.publish_endpoint, "tcp://") && !config.publish_endpoint.starts_with("ipc://")) {
        publish.fault(
            "endpoint",
            "must be on loopback (tcp://127.0.0.1:PORT) or ipc://: it is neither encrypted nor authenticated");
    }
    config.publish_scores = publish.flag("scores", config.publish_scores);
    config.status_interval = seconds(publish.number("status_seconds", 10.0, 0.1, 3600.0));

    auto journal = root.section("journal");
    config.journal_path = journal.text("path", config.journal_path);
    config.journal_keep_days = static_cast<int>(journal.integer("keep_days", config.journal_keep_days, 1, 36'500));
    config.journal_max_mib = static_cast<int>(journal.integer("max_mib", config.journal_max_mib, 1, 1 << 20));
    auto replay = root.section("replay");
    config.replay_endpoint = replay.text("endpoint", config.replay_endpoint);
    if (!config.replay_endpoint.empty() && !is_loopback_address(config.replay_endpoint, "tcp://") &&
        !config.replay_endpoint.starts_with("ipc://")) {
        replay.fault("endpoint",
                     "must be on loopback (tcp://127.0.0.1:PORT) or ipc://: it is neither encrypted nor authenticated");
    }

    auto http = root.section("http");
    config.http_listen = http.text("listen", config.http_listen);
    if (!config.http_listen.empty() && !is_loopback_address(config.http_listen, "")) {
        http.fault("listen", "must be on loopback (127.0.0.1:PORT), or empty for no HTTP");
    }

    config.log_level = root.section("log").choice("level", {"trace", "debug", "info", "warning", "error"}, "info");
    return config;
}

// Faults that only show when configuration and model are held against each other.
void check_against_model(ConfigSection root, const Config& config, const Bundle& bundle) {
    if (config.hop_seconds > bundle.front_end.window_seconds) {
        root.section("analysis")
            .fault("hop_seconds", fmt::format("{} is more than the model's window of {} s: sound would be skipped",
                                              config.hop_seconds, bundle.front_end.window_seconds));
    }
    auto thresholds = root.section("detection").section("thresholds");
    for (const auto& [code, threshold] : config.detection.thresholds) {
        const bool known = std::any_of(bundle.labels.begin(), bundle.labels.end(),
                                       [&](const auto& label) { return label.code == code; });
        if (!known) thresholds.fault(code, "the model has no such class");
    }
}

std::vector<std::string> lines_of(const std::vector<ConfigFault>& notes) {
    std::vector<std::string> lines;
    for (const auto& note : notes) lines.push_back(to_string(note));
    return lines;
}

}  // namespace

Station load_station(const std::filesystem::path& path) {
    ConfigDocument document(path);
    document.throw_if_unreadable();
    Station station;
    station.config = read_config(document.root());
    if (!station.config.bundle.empty()) {
        try {
            station.bundle = read_bundle(station.config.bundle);
            check_against_model(document.root(), station.config, station.bundle);
        } catch (const std::exception& error) {
            document.root().section("model").fault("bundle", error.what());
        }
    }
    document.finish();
    station.config.warnings = lines_of(document.warnings());
    return station;
}

Config parse_config(std::string_view text, const std::string& file) {
    ConfigDocument document(text, file);
    document.throw_if_unreadable();
    auto config = read_config(document.root());
    document.finish();
    config.warnings = lines_of(document.warnings());
    return config;
}

}  // namespace chorus
