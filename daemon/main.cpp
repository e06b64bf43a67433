#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "config/config_reader.h"
#include "config/program.h"
#include "daemon/commands.h"
#include "model/classifier.h"

namespace chorus {
namespace {

constexpr int kWrongUsage = 2;

struct CommandLine {
    std::string config;
    DetectOptions detect;
    ListenOptions listen;
    ReplayOptions replay;
    std::string key_prefix = "chorus";
};

void describe_detect(CLI::App& verb, DetectOptions& options) {
    verb.add_option("--model", options.bundle, "Model bundle (.safetensors)")->required();
    verb.add_option("--format", options.format, "Table to write: jsonl, csv or raven")
        ->check(CLI::IsMember({"jsonl", "csv", "raven"}))
        ->capture_default_str();
    verb.add_option("--hop", options.hop_seconds, "Seconds between windows")
        ->check(CLI::Range(0.05, 60.0))
        ->capture_default_str();
    verb.add_option("--min-windows", options.min_windows, "Windows that make an event")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    verb.add_option("--class-min-windows", options.min_windows_by_class, "CODE COUNT: one class's own --min-windows");
    verb.add_option("--merge-gap", options.merge_gap_seconds, "Hits no further apart are one event, in seconds")
        ->check(CLI::Range(0.0, 3600.0))
        ->capture_default_str();
    verb.add_option("--hysteresis", options.hysteresis, "An event goes on above threshold times this")
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str();
    verb.add_option("--threshold-scale", options.threshold_scale, "Multiplies the model's thresholds")
        ->check(CLI::Range(0.01, 100.0))
        ->capture_default_str();
    verb.add_option("--group", options.group_seconds,
                    "Events of one class on several channels no further apart share a group, in seconds; 0: none do")
        ->check(CLI::Range(0.0, 3600.0))
        ->capture_default_str();
    verb.add_option("--activity-prior", options.activity_prior,
                    "Shift scores by hour and month as the model learned it, at most by so much in log-odds; 0: don't")
        ->check(CLI::Range(0.0, ActivityTable::kLargestShift))
        ->capture_default_str();
    verb.add_option("--longitude", options.longitude_deg, "Of the recorder, in degrees east: for --activity-prior")
        ->check(CLI::Range(-180.0, 180.0));
    verb.add_option("--station", options.station, "Name in the events")->capture_default_str();
    verb.add_option("--device", options.device, "auto, cpu or cuda:N")->capture_default_str();
    verb.add_option_function<std::string>(
            "--precision",
            [&options](const std::string& name) {
                const auto known = precision_of(name);
                if (!known) throw CLI::ValidationError("--precision", name + " is none of float32, bfloat16 and float16");
                options.precision = *known;
            },
            "Of the network: float32; on a CPU that has AVX512_BF16 bfloat16; on a GPU float16")
        ->default_str("float32");
    verb.add_option("--threads", options.threads, "Windows scored at once on a CPU; 0: as many as processors, and two")
        ->check(CLI::Range(0, 256))
        ->capture_default_str();
    verb.add_option("--progress", options.progress, "How far it is, on stderr: auto (if that is a terminal), on or off")
        ->check(CLI::IsMember({"auto", "on", "off"}))
        ->capture_default_str();
    verb.add_option("FILE", options.recordings, "Recordings, or folders of them")->required();
}

// For each verb that connects to a station.
void describe_client_keys(CLI::App& verb, std::string& server_key, std::string& key_file) {
    auto* server =
        verb.add_option("--server-key", server_key, "Public key of a station that asks for keys")
            ->check([](const std::string& key) { return is_curve_key(key) ? "" : "is no key of 40 Z85 characters"; });
    auto* own = verb.add_option("--key-file", key_file, "File of this client's secret key, made by keygen");
    server->needs(own);
    own->needs(server);
}

void describe_listen(CLI::App& verb, ListenOptions& options) {
    verb.add_option("ENDPOINT", options.endpoint, "For example tcp://127.0.0.1:7740")->required();
    verb.add_option("--topic", options.topic, "Only topics that begin so, for example event.");
    verb.add_option("--format", options.format, "jsonl: messages as they come; text: a line for people")
        ->check(CLI::IsMember({"jsonl", "text"}))
        ->capture_default_str();
    verb.add_option("--count", options.count, "Stop after so many messages")->check(CLI::NonNegativeNumber);
    verb.add_option("--timeout", options.timeout_seconds, "Fail when nothing comes for so many seconds")
        ->check(CLI::NonNegativeNumber);
    describe_client_keys(verb, options.server_key, options.key_file);
}

void describe_replay(CLI::App& verb, ReplayOptions& options) {
    verb.add_option("ENDPOINT", options.endpoint, "For example tcp://127.0.0.1:7741")->required();
    verb.add_option("--after", options.after, "The last sequence number that is known; 0: from the first kept")
        ->required()
        ->check(CLI::NonNegativeNumber);
    verb.add_option("--limit", options.limit, "At most so many messages")->check(CLI::NonNegativeNumber);
    verb.add_option("--timeout", options.timeout_seconds, "Fail when no answer comes for so many seconds")
        ->check(CLI::Range(0.01, 86'400.0))
        ->capture_default_str();
    describe_client_keys(verb, options.server_key, options.key_file);
}

int run(int argc, char** argv) {
    CommandLine line;
    CLI::App app("Chorus: real-time bioacoustic detection. Without a verb it is the service, as with `run`.",
                 "chorusd");
    app.set_version_flag("--version",
                         [] { return fmt::format("chorusd {} ({})", CHORUS_VERSION, torch_description()); });
    app.require_subcommand(0, 1);
    app.add_option("--config", line.config, "Configuration file (TOML)");
    auto* service = app.add_subcommand("run", "The service: sound in, detections out");
    auto* check = app.add_subcommand("check", "Read a configuration, open its model, say every fault");
    for (auto* verb : {service, check})
        verb->add_option("--config", line.config, "Configuration file (TOML)")->required();
    auto* detect = app.add_subcommand("detect", "Find events in recordings");
    describe_detect(*detect, line.detect);
    auto* listen = app.add_subcommand("listen", "Print the messages of a station");
    describe_listen(*listen, line.listen);
    auto* replay = app.add_subcommand("replay", "Print events of a station that were missed");
    describe_replay(*replay, line.replay);
    auto* keygen = app.add_subcommand("keygen", "Make a key pair for ZeroMQ beyond loopback; prints its public key");
    keygen->add_option("--out", line.key_prefix, "Writes PREFIX.key (secret) and PREFIX.pub")
        ->type_name("PREFIX")
        ->capture_default_str();
    try {
        app.parse(argc, argv);
        if (app.get_subcommands().empty() && line.config.empty()) throw CLI::RequiredError("--config");
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? EXIT_SUCCESS : kWrongUsage;
    }
    if (detect->parsed()) return detect_in_recordings(line.detect);
    if (listen->parsed()) return listen_to(line.listen);
    if (replay->parsed()) return replay_from(line.replay);
    if (keygen->parsed()) return make_keys(line.key_prefix);
    if (check->parsed()) return check_configuration(line.config);
    return run_service(line.config);
}

}  // namespace
}  // namespace chorus

int main(int argc, char** argv) try { return chorus::run(argc, argv); } catch (const chorus::ConfigError& error) {
    std::cerr << error.what() << '\n';  // a line a fault, each with its place
    return EXIT_FAILURE;
} catch (...) {
    std::cerr << "chorusd: " << chorus::current_exception_message() << '\n';
    return EXIT_FAILURE;
}
