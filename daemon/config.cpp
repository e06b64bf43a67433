#include "daemon/config.h"

#include <fmt/format.h>
#include <spdlog/common.h>

#include <algorithm>
#include <set>

#include "config/config_reader.h"
#include "config/secret_file.h"
#include "daemon/alsa_cards.h"
#include "daemon/model_check.h"
#include "daemon/security_config.h"
#include "daemon/time_format.h"
#include "streaming/audio_source.h"
#include "streaming/duration.h"
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

// The login's password stays out of the launch fragment, so that nothing that shows the fragment shows it.
void read_rtsp_login(ConfigSection& section, SourceConfig& source, ConfigDepth depth) {
    source.rtsp_user = section.text("rtsp_user", "");
    const auto password_path = section.text("rtsp_password_file", "");
    for (const char* key : {"rtsp_user", "rtsp_password_file"}) {
        if (section.has(key) && !section.has("rtsp")) section.fault(key, "is for rtsp only");
    }
    if (source.rtsp_user.empty() != password_path.empty()) {
        section.fault(source.rtsp_user.empty() ? "rtsp_password_file" : "rtsp_user",
                      "rtsp_user and rtsp_password_file go together");
    }
    if (password_path.empty() || depth == ConfigDepth::kTextAlone) return;
    try {
        source.rtsp_password = read_password_file(password_path);
    } catch (const std::exception& error) {
        section.fault("rtsp_password_file", error.what());
    }
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

std::optional<UtcTime> read_start(ConfigSection& section, const SourceConfig& source, ConfigDepth depth) {
    if (const auto text = section.text("start", ""); !text.empty()) {
        const auto start = from_iso8601(text);
        if (!start) section.fault("start", "must be UTC as in 2026-11-23T02:14:07Z");
        return start;
    }
    if (!source.is_file || depth == ConfigDepth::kTextAlone) return std::nullopt;
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

SourceConfig read_source(ConfigSection section, const std::optional<Position>& position, ConfigDepth depth) {
    SourceConfig source;
    source.name = section.required_name("name");

    static const std::vector<std::string> kForms = {"launch", "file", "alsa", "pulse", "rtsp", "rtp"};
    std::vector<std::string> given;
    std::copy_if(kForms.begin(), kForms.end(), std::back_inserter(given),
                 [&](const auto& f) { return section.has(f); });
    if (given.empty()) section.fault("", "needs one of launch, file, alsa, pulse, rtsp, rtp");
    // Every form is read even when there are too many, so that each one's own faults are said, too.
    for (const auto& form : given) source.launch = launch_of(section, form);
    if (given.size() == 1 && !source.launch.empty() && depth == ConfigDepth::kFilesToo) {
        try {
            check_launch(source.launch);
        } catch (const std::exception& error) {
            section.fault(given[0], error.what());
        }
    }
    read_rtsp_login(section, source, depth);
    if (given.size() > 1) section.fault(given[1], fmt::format("is one too many: {} is there already", given[0]));

    source.is_file = given.size() == 1 && given[0] == "file";
    if (std::error_code error; source.is_file && depth == ConfigDepth::kFilesToo) {
        // Opening a FIFO or a device as a file may wait for ever.
        const auto status = std::filesystem::status(section.text("file", ""), error);
        if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
            section.fault("file", "is not a regular file");
    }
    source.realtime = section.flag("realtime", false);
    if (section.has("live")) source.live = section.flag("live", true);
    if (section.has("live") && (given.size() != 1 || given[0] != "launch")) section.fault("live", "is for launch only");
    source.start = read_start(section, source, depth);
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
    for (const auto& [code, count] : section.integers("min_windows_by_class", 1, 1000)) {
        detection.min_windows_by_class[code] = static_cast<int>(count);
    }
    detection.merge_gap_seconds = section.number("merge_gap_seconds", detection.merge_gap_seconds, 0.0, 3600.0);
    detection.update_seconds = section.number("update_seconds", detection.update_seconds, 0.1, 86'400.0);
    detection.group_seconds = section.number("group_seconds", detection.group_seconds, 0.0, 3600.0);
    detection.activity_prior = section.number("activity_prior", 0.0, 0.0, ActivityTable::kLargestShift);
    return detection;
}

ClipsConfig read_clips(ConfigSection section) {
    ClipsConfig clips;
    clips.folder = section.text("folder", "");
    clips.max_mib = static_cast<int>(section.integer("max_mib", clips.max_mib, 1, 10'000'000));
    clips.min_free_mib = static_cast<int>(section.integer("min_free_mib", clips.min_free_mib, 0, 10'000'000));
    clips.before_seconds = section.number("before_seconds", clips.before_seconds, 0.0, 60.0);
    clips.after_seconds = section.number("after_seconds", clips.after_seconds, 0.0, 60.0);
    clips.max_seconds = section.number("max_seconds", clips.max_seconds, 1.0, 120.0);
    clips.uncertain_per_day = section.number("uncertain_per_day", clips.uncertain_per_day, 0.0, 1440.0);
    clips.random_per_day = section.number("random_per_day", clips.random_per_day, 0.0, 1440.0);
    return clips;
}

Config read_config(ConfigSection root, ConfigDepth depth) {
    Config config;
    auto station = root.section("station");
    config.station = station.required_name("name");
    config.position = read_position(station);

    auto model = root.section("model");
    config.bundle = model.required_text("bundle");
    config.shadow = model.text("shadow", config.shadow);
    config.rollback_hours = model.number("rollback_hours", 0.0, 0.0, 8760.0);
    config.rollback_events_an_hour = model.number("rollback_events_an_hour", 0.0, 0.0, 1e6);
    config.device = model.text("device", config.device);
    const bool cuda = config.device.starts_with("cuda:") && config.device.size() > 5 &&
                      config.device.find_first_not_of("0123456789", 5) == std::string::npos;
    if (config.device != "auto" && config.device != "cpu" && !cuda) {
        model.fault("device", fmt::format("\"{}\" must be auto, cpu or cuda:N", config.device));
    }
    const auto precision = model.text("precision", "float32");
    if (const auto known = precision_of(precision)) {
        config.precision = *known;
    } else {
        model.fault("precision", fmt::format("\"{}\" must be float32, bfloat16 or float16", precision));
    }
    if (config.device == "cpu" && config.precision == Precision::kFloat16)
        model.fault("precision", "float16 is for a GPU, and device is \"cpu\"");
    if (cuda && config.precision == Precision::kBfloat16)
        model.fault("precision", fmt::format("bfloat16 is for a CPU, and device is \"{}\"", config.device));
    config.threads = static_cast<int>(model.integer("threads", config.threads, 0, 256));

    auto analysis = root.section("analysis");
    config.hop_seconds = analysis.number("hop_seconds", config.hop_seconds, 0.05, 60.0);
    config.max_batch = static_cast<int>(analysis.integer("max_batch", config.max_batch, 1, 64));
    config.max_batch_delay = seconds(analysis.number("max_batch_delay_seconds", 0.02, 0.0, 10.0));
    config.queue_windows = static_cast<int>(analysis.integer("queue_windows", config.queue_windows, 2, 4096));
    config.widen_hop = analysis.choice("overload", {"drop", "widen-hop"}, "drop") == "widen-hop";
    config.silence_timeout = seconds(analysis.number("silence_timeout_seconds", 10.0, 0.5, 3600.0));

    config.detection = read_detection(root.section("detection"));
    if (config.position) config.detection.longitude_deg = config.position->longitude_deg;

    std::set<std::string> names;
    for (auto& section : root.sections("source")) {
        config.sources.push_back(read_source(section, config.position, depth));
        const auto& name = config.sources.back().name;
        if (!name.empty() && !names.insert(name).second)
            section.fault("name", fmt::format("\"{}\" is used twice", name));
    }
    if (!root.has("source")) root.fault("source", "at least one [[source]] is needed");
    if (config.sources.size() > kMostSources) root.fault("source", fmt::format("more than {} sources", kMostSources));

    auto publish = root.section("publish");
    config.publish_endpoint = publish.text("endpoint", config.publish_endpoint);
    config.curve = read_curve(root.section("curve"), depth);
    check_endpoint(publish, "endpoint", config.publish_endpoint, config.curve.has_value());
    config.publish_scores = publish.flag("scores", config.publish_scores);
    config.status_interval = seconds(publish.number("status_seconds", 10.0, 0.1, 3600.0));

    auto journal = root.section("journal");
    config.journal_path = journal.text("path", config.journal_path);
    config.journal_keep_days = static_cast<int>(journal.integer("keep_days", config.journal_keep_days, 1, 36'500));
    config.journal_max_mib = static_cast<int>(journal.integer("max_mib", config.journal_max_mib, 1, 4096));
    config.clips = read_clips(root.section("clips"));
    auto replay = root.section("replay");
    config.replay_endpoint = replay.text("endpoint", config.replay_endpoint);
    if (!config.replay_endpoint.empty()) {
        check_endpoint(replay, "endpoint", config.replay_endpoint, config.curve.has_value());
    }

    auto http = root.section("http");
    config.http_listen = http.text("listen", config.http_listen);
    config.http_security = read_http_security(http, config.http_listen, depth);

    config.log_level = root.section("log").choice("level", {"trace", "debug", "info", "warning", "error"}, "info");
    return config;
}

std::vector<std::string> lines_of(const std::vector<ConfigFault>& notes) {
    std::vector<std::string> lines;
    for (const auto& note : notes) lines.push_back(to_string(note));
    return lines;
}

}  // namespace

Station load_station(const std::filesystem::path& path, const Bundle* in_use) {
    ConfigDocument document(path);
    document.throw_if_unreadable();
    Station station;
    station.config = read_config(document.root(), ConfigDepth::kFilesToo);
    station.config.file = path.string();
    station.config.text = document.text();
    if (in_use != nullptr) {
        check_against_model(document.root(), station.config, *in_use);
    } else if (!station.config.bundle.empty()) {
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

std::vector<std::string> check_model(const Config& config, const Bundle& bundle) {
    ConfigDocument document(config.text, config.file);
    auto root = document.root();
    read_config(root, ConfigDepth::kTextAlone);  // so that no key counts as one that nobody asked for
    const auto warned_before = static_cast<std::ptrdiff_t>(document.warnings().size());
    check_against_model(root, config, bundle);
    document.finish();
    return lines_of({document.warnings().begin() + warned_before, document.warnings().end()});
}

Config parse_config(std::string_view text, const std::string& file, ConfigDepth depth) {
    ConfigDocument document(text, file);
    document.throw_if_unreadable();
    auto config = read_config(document.root(), depth);
    document.finish();
    config.warnings = lines_of(document.warnings());
    return config;
}

void Config::adopt_reloadable(const Config& next) {
    bundle = next.bundle;
    shadow = next.shadow;
    rollback_hours = next.rollback_hours;
    rollback_events_an_hour = next.rollback_events_an_hour;
    file = next.file;
    text = next.text;
    hop_seconds = next.hop_seconds;
    widen_hop = next.widen_hop;
    silence_timeout = next.silence_timeout;
    detection = next.detection;
    sources = next.sources;
    log_level = next.log_level;
    position = next.position;
    warnings = next.warnings;
}

std::filesystem::path Config::candidate() const {
    return shadow == "auto" ? bundle.parent_path() / "candidate" : std::filesystem::path(shadow);
}

std::vector<std::string> keys_that_need_a_restart(const Config& now, const Config& next) {
    std::vector<std::string> keys;
    const auto compare = [&](const char* key, auto member) {
        if (now.*member != next.*member) keys.emplace_back(key);
    };
    compare("station.name", &Config::station);
    compare("model.device", &Config::device);
    compare("model.precision", &Config::precision);
    compare("model.threads", &Config::threads);
    compare("analysis.max_batch", &Config::max_batch);
    compare("analysis.max_batch_delay_seconds", &Config::max_batch_delay);
    compare("analysis.queue_windows", &Config::queue_windows);
    compare("publish.endpoint", &Config::publish_endpoint);
    compare("publish.scores", &Config::publish_scores);
    compare("publish.status_seconds", &Config::status_interval);
    compare("journal.path", &Config::journal_path);
    compare("journal.keep_days", &Config::journal_keep_days);
    compare("journal.max_mib", &Config::journal_max_mib);
    compare("clips", &Config::clips);
    compare("replay.endpoint", &Config::replay_endpoint);
    compare("curve", &Config::curve);
    compare("http.listen", &Config::http_listen);
    compare("http.certificate_file, http.users_file", &Config::http_security);
    return keys;
}

}  // namespace chorus
