#pragma once
// chorusd's configuration, as config/chorusd.toml explains it key by key.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/http_server.h"
#include "daemon/position.h"
#include "daemon/schedule.h"
#include "model/bundle.h"
#include "model/classifier.h"
#include "streaming/audio_block.h"
#include "streaming/curve.h"

namespace chorus {

struct SourceConfig {
    std::string name;
    std::string launch;     // the GStreamer fragment, made from a short form where one was given
    std::string rtsp_user;  // empty: none, or the URL names it
    std::string rtsp_password;
    bool is_file = false;          // ends by itself, never drops, is not opened again
    bool realtime = false;         // a file plays at its own speed
    std::optional<bool> live;      // GStreamerOptions::live
    std::optional<UtcTime> start;  // UTC of a file's first sample
    std::string alsa_card;         // that must be there before it is opened; empty: not looked for
    std::optional<std::chrono::milliseconds> silence_timeout;  // instead of the analysis's
    Schedule schedule;                                         // empty: always open
    bool operator==(const SourceConfig&) const = default;
};

struct DetectionConfig {
    double threshold_scale = 1.0;              // multiplies the bundle's thresholds
    std::map<std::string, double> thresholds;  // by code; instead of the bundle's
    double hysteresis = 0.7;                   // an event goes on while scores stay above threshold * hysteresis
    int min_windows = 1;
    std::map<std::string, int> min_windows_by_class;  // by code; instead of min_windows
    double merge_gap_seconds = 1.0;
    double update_seconds = 10.0;  // between updates of an open event
    double activity_prior = 0.0;   // bound of the shift by hour and month, in log-odds; 0: none
    double group_seconds = 0.0;    // events of one class on several channels no further apart share a group; 0: none do
    std::optional<double> longitude_deg;  // the station's, for tables that go by solar time
    bool operator==(const DetectionConfig&) const = default;
};

struct ClipsConfig {
    std::filesystem::path folder;  // empty: no clips are kept
    int max_mib = 2048;
    int min_free_mib = 1024;  // of the disk
    double before_seconds = 1.0;
    double after_seconds = 1.0;
    double max_seconds = 15.0;     // of an event's sound
    double uncertain_per_day = 4;  // of each class, on average
    double random_per_day = 4;     // of each channel, on average
    bool operator==(const ClipsConfig&) const = default;
};

struct Config {
    std::string station;
    std::optional<Position> position;
    std::filesystem::path bundle;
    std::string shadow;                  // a candidate's bundle; "auto": `candidate` beside the bundle; empty: none
    double rollback_hours = 0;           // for so long after a swap the old model may be put back; 0: never
    double rollback_events_an_hour = 0;  // of a channel: more of them put it back; 0: their number doesn't
    std::string device = "auto";
    Precision precision = Precision::kFloat32;
    int threads = 0;  // that score on a CPU, each its own windows; 0: one a processor, at most 16

    double hop_seconds = 1.0;
    int max_batch = 16;
    std::chrono::milliseconds max_batch_delay{20};
    int queue_windows = 16;  // per channel
    bool widen_hop = false;  // under overload, before sound is dropped

    DetectionConfig detection;
    std::vector<SourceConfig> sources;

    std::string publish_endpoint = "tcp://127.0.0.1:7740";
    bool publish_scores = false;
    std::chrono::milliseconds status_interval{10'000};

    std::string journal_path = "/var/lib/chorus/journal.db";  // empty: no journal, no replay
    int journal_keep_days = 365;
    int journal_max_mib = 256;
    std::string replay_endpoint = "tcp://127.0.0.1:7741";  // empty: no replay
    std::optional<CurveServer> curve;
    ClipsConfig clips;

    std::string http_listen = "127.0.0.1:9740";  // empty: no HTTP
    HttpSecurity http_security;
    std::chrono::milliseconds silence_timeout{10'000};
    std::string log_level = "info";

    std::vector<std::string> warnings;  // what is allowed but unwise, each as "file:line: key: text"

    std::string file;  // it was read from
    std::string text;  // as it was read

    /// Takes over what a running daemon takes over.
    void adopt_reloadable(const Config& next);
    /// Where a candidate is; empty: nowhere.
    std::filesystem::path candidate() const;
};

/// The keys that differ and that a running daemon doesn't take over.
std::vector<std::string> keys_that_need_a_restart(const Config& now, const Config& next);

/// A configuration and the model it names.
struct Station {
    Config config;
    Bundle bundle;
};

/// Reads the configuration and opens the model; throws ConfigError with every fault of both. A running daemon opens
/// models by itself: with `in_use` the settings are held against that one, whatever model is named now.
Station load_station(const std::filesystem::path& path, const Bundle* in_use = nullptr);

/// Throws ConfigError with every reason why a configuration can't go with another model than it was read for; else
/// returns what to warn of.
std::vector<std::string> check_model(const Config& config, const Bundle& bundle);

/// Whether reading a configuration opens the files that it names and asks GStreamer for its sources, too.
enum class ConfigDepth { kTextAlone, kFilesToo };

/// The configuration alone, without opening the model; throws ConfigError with every fault.
Config parse_config(std::string_view text, const std::string& file, ConfigDepth depth = ConfigDepth::kFilesToo);

}  // namespace chorus
