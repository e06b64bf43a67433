#pragma once
// What `chorusd` can be asked to do. Each returns the process's exit status, and throws for a failure that one line
// on stderr explains.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/model.h"
#include "streaming/curve.h"

namespace chorus {

/// The model of a bundle read from `path`, warm, with at most so many classifiers. Throws what make_classifier() does,
/// with the path in front.
std::shared_ptr<const Model> open_model(const std::filesystem::path& path, Bundle bundle,
                                        const ClassifierOptions& options, std::size_t classifiers);

/// The service: until SIGTERM or SIGINT, or until all its sources are files and have ended.
int run_service(const std::filesystem::path& config);

/// Reads the configuration, opens the model and the sources' descriptions; starts nothing.
int check_configuration(const std::filesystem::path& config);

struct DetectOptions {
    std::filesystem::path bundle;
    std::vector<std::filesystem::path> recordings;  // files, and folders to search
    std::string format = "jsonl";                   // jsonl | csv | raven
    std::string station = "detect";
    std::string device = "auto";
    Precision precision = Precision::kFloat32;
    int threads = 0;                // that score on a CPU; 0: as many as processors, and two
    std::string progress = "auto";  // on stderr: auto (on a terminal) | on | off
    double hop_seconds = 1.0;
    int min_windows = 1;
    std::map<std::string, int> min_windows_by_class;
    double merge_gap_seconds = 1.0;
    double hysteresis = 0.7;
    double threshold_scale = 1.0;
    double group_seconds = 0.0;
    double activity_prior = 0.0;
    std::optional<double> longitude_deg;
};

/// The service's pipeline over recordings; the closed events of each go to stdout. A recording that can't be analysed
/// is said on stderr and makes the status 1; the others are analysed all the same.
int detect_in_recordings(const DetectOptions& options);

struct ListenOptions {
    std::string endpoint;
    std::string topic;             // prefix
    std::string format = "jsonl";  // jsonl: bodies as they come; text: a line for people
    int count = 0;                 // stop after so many messages; 0: never
    double timeout_seconds = 0;    // stop, with status 1, when nothing comes for so long; 0: never
    std::string server_key;        // the station's public key, where it asks for keys
    std::string key_file;          // this client's secret key, made by keygen
};

int listen_to(const ListenOptions& options);

struct ReplayOptions {
    std::string endpoint;
    std::int64_t after = 0;
    std::int64_t limit = 0;  // 0: all
    double timeout_seconds = 10;
    std::string server_key;  // as in ListenOptions
    std::string key_file;
};

/// Prints the events after a sequence number, as the stream had them.
int replay_from(const ReplayOptions& options);

/// The keys that a client shows: none where none are named. Throws std::runtime_error naming the file.
std::optional<CurveClient> read_client_keys(const std::string& server_key, const std::string& key_file);

/// Writes a new key pair to PREFIX.key and PREFIX.pub, neither of which may exist; the public key goes to stdout.
int make_keys(const std::string& prefix);

}  // namespace chorus
