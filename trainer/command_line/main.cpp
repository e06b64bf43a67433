// chorus-train: fits, judges, compares, lists and promotes model bundles.

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "config/config_reader.h"
#include "config/program.h"
#include "model/classifier.h"
#include "trainer/compare.h"
#include "trainer/configuration.h"
#include "trainer/evaluate.h"
#include "trainer/fit.h"
#include "trainer/label_import.h"
#include "trainer/model_list.h"
#include "trainer/process_group.h"
#include "trainer/rendezvous.h"
#include "trainer/retrain.h"

namespace {

using namespace chorus;

constexpr int kWrongUsage = 2;

/// Asked to end, by a signal, with a checkpoint to go on from.
constexpr int kStopped = 3;

std::atomic<bool> stop_asked = false;

/// The next such signal ends the program at once.
void stop_on_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_asked = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
}

struct Arguments {
    Configuration configuration;
    FitOptions& fit = configuration.fit;
    std::filesystem::path config;
    std::vector<Setting> settings;  // what flags say of keys of the configuration
    EvaluateOptions evaluate;
    std::string subset = "test";
    CompareOptions compare;
    std::string methods = "parts";
    std::filesystem::path models;
    std::filesystem::path station;
    int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
};

/// A flag that stands for a key of the configuration, which the configuration's reader checks.
struct KeyFlag {
    const char* flag;
    const char* key;
    const char* help;
};

constexpr KeyFlag kKeyFlags[] = {
    {"--architecture", "model.architecture", "MobileNetV3's size: large or small"},
    {"--precision", "model.precision", "Of the weights in the bundle: half or float"},
    {"--hop", "front_end.hop", "Samples between spectrogram frames, at 16 kHz"},
    {"--mels", "front_end.mels", "Mel bands"},
    {"--epochs", "training.epochs", "Passes over the training clips"},
    {"--batch", "training.batch", "Clips a step, of each process"},
    {"--seed", "training.seed", "One seed gives one result on the CPU"},
    {"--device", "training.device", "That computes the steps: auto, cpu or cuda:N"},
    {"--batch-norm-momentum", "training.batch_norm_momentum", "Short runs want more than torchvision's 0.01"},
    {"--learning-rate", "optimiser.learning_rate", "AdamW's, at its highest"},
    {"--weight-decay", "optimiser.weight_decay", "AdamW's"},
    {"--mix", "mixing.method",
     "How a step mixes its clips: none, mixup, manifold, multimix, some joined by +, or mix2"},
    {"--semantics", "mixing.semantics",
     "Mixing as Mix2 is described (paper), or as its released code does it (reference)"},
    {"--augmentation", "augmentation.scope", "Shift and masks for each clip (sample), one set for a batch, or none"},
    {"--longitude", "activity.longitude",
     "Of the recorders, degrees east: hours of activity are then solar ones, else UTC"},
    {"--clock-ahead", "activity.clock_ahead", "Hours by which the recorders' clocks are ahead of UTC"},
};

constexpr auto* kDatasetHelp =
    "Folder of labelled recordings (AnuraSet's, ESC-50's, labels.csv, or Raven and Audacity tables), or a CSV file";

constexpr auto* kReportHelp = "Page to write (.html), with its numbers beside it (.json)";

void add_key_flag(CLI::App& verb, Arguments& arguments, const KeyFlag& flag) {
    verb.add_option_function<std::string>(
        flag.flag,
        [&arguments, key = flag.key](const std::string& value) { arguments.settings.emplace_back(key, value); },
        flag.help);
}

/// What all that reads the configuration takes of it.
void add_configuration(CLI::App& verb, Arguments& arguments) {
    verb.add_option("--config", arguments.config, "Configuration: see config/trainer.toml; flags override it");
    verb.add_option_function<std::vector<std::string>>(
            "--set",
            [&arguments](const std::vector<std::string>& settings) {
                for (const auto& setting : settings) {
                    const auto equals = setting.find('=');
                    if (equals == setting.npos) throw CLI::ValidationError("--set", setting + " is not KEY=VALUE");
                    arguments.settings.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
                }
            },
            "KEY=VALUE: any key of the configuration, for example optimiser.weight_average=0.99")
        ->allow_extra_args(false);
    verb.add_flag_callback(
        "--strict", [&arguments] { arguments.settings.emplace_back("data.strict", "true"); },
        "Fail if anything of the data set can't be used, instead of leaving it out");
    verb.add_option_function<std::string>(
        "--cache", [&arguments](const std::string& folder) { arguments.settings.emplace_back("data.cache", folder); },
        "Folder that keeps features from one run to the next");
    verb.add_option("--threads", arguments.threads, "Threads; results are the same bits for the same number")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
}

CLI::App* add_fit(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("fit", "Train a model on labelled recordings and write its bundle");
    verb->add_option("--dataset", arguments.fit.dataset, kDatasetHelp)->required();
    verb->add_option("--out", arguments.fit.out, "Bundle to write (.safetensors)")->required();
    verb->add_option("--init", arguments.fit.init,
                     "Bundle to begin with: its classes are kept, and the data set's new ones added");
    verb->add_option("--report", arguments.fit.report, kReportHelp);
    verb->add_flag_callback(
        "--resume", [&arguments] { arguments.fit.resume = Resume::kAlways; },
        "Go on from OUT.checkpoint, if there is one");
    for (const auto& flag : kKeyFlags) add_key_flag(*verb, arguments, flag);
    add_configuration(*verb, arguments);
    return verb;
}

CLI::App* add_compare(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("compare", "Train several methods with several seeds and compare them in a table");
    verb->add_option("--dataset", arguments.compare.fit.dataset, kDatasetHelp)->required();
    verb->add_option("--out", arguments.compare.out,
                     "Folder of the trainings and the table; the same command goes on with what is in it")
        ->required();
    verb->add_option("--methods", arguments.methods,
                     "As --mix has them, separated by commas, each with keys of its own if wanted "
                     "(mix2:loss.kind=focal); parts, probabilities and imbalance stand for several")
        ->capture_default_str();
    verb->add_option("--seeds", arguments.compare.seeds, "Trainings of each method, with seeds from --seed on")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    for (const auto& flag : kKeyFlags)
        if (std::string_view(flag.key) != "mixing.method") add_key_flag(*verb, arguments, flag);
    add_configuration(*verb, arguments);
    return verb;
}

CLI::App* add_evaluate(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("evaluate", "Score a data set's clips with a bundle");
    verb->add_option("--model", arguments.evaluate.model, "Bundle")->required();
    verb->add_option("--dataset", arguments.evaluate.dataset, kDatasetHelp)->required();
    verb->add_option("--report", arguments.evaluate.report, kReportHelp);
    verb->add_option_function<std::string>(
            "--inference-precision",
            [&arguments](const std::string& name) {
                const auto known = precision_of(name);
                if (!known)
                    throw CLI::ValidationError("--inference-precision", name + " is neither float32 nor bfloat16");
                arguments.evaluate.precision = *known;
            },
            "Of the network: float32, or bfloat16 where the processor has AVX512_BF16")
        ->default_str("float32");
    verb->add_option("--subset", arguments.subset, "Which clips")
        ->check(CLI::IsMember({"train", "test", "all"}))
        ->capture_default_str();
    add_configuration(*verb, arguments);
    return verb;
}

CLI::App* add_models(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("models", "List the bundles of a folder");
    verb->add_option("folder", arguments.models, "Folder")->required();
    return verb;
}

CLI::App* add_import(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("import", "Take the label files of a station's inbox into its data set");
    verb->add_option("--station", arguments.station,
                     "Folder that holds labels/, clips/ and dataset/; else retrain.station");
    add_configuration(*verb, arguments);
    return verb;
}

CLI::App* add_retrain(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand(
        "retrain",
        "Import what is in the inbox, train the station's model on it, and promote it if it passes the gates");
    add_configuration(*verb, arguments);
    return verb;
}

CLI::App* add_rollback(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("rollback", "Put the parent of a station's current model back");
    add_configuration(*verb, arguments);
    return verb;
}

/// False, said on stderr, where files were rejected.
bool import(const Arguments& arguments, nlohmann::json& report) {
    const auto station = arguments.station.empty() ? arguments.configuration.retrain.station : arguments.station;
    const auto imported = import_labels({.station = station}, {.test_share = arguments.fit.data.test_share});
    say_what_was_left(imported);
    report = to_json(imported);
    return imported.rejected.empty();
}

/// Of the verbs that train, fit alone is meant for several processes. Throws std::invalid_argument.
Rendezvous find_rendezvous_for(const CLI::App& fit, bool trains) {
    if (!trains) return {};
    auto found = find_rendezvous([](const char* name) { return std::getenv(name); });
    if (!found.is_alone() && !fit.parsed())
        throw std::invalid_argument(fmt::format(
            "fit alone trains in several processes, and the environment (WORLD_SIZE, SLURM_STEP_NUM_TASKS) tells of {}",
            found.world_size));
    return found;
}

/// OpenMP's threads spin while they wait, and where others want the cores too (the daemon does) they wait for a thread
/// that isn't running: many times slower. The library reads how to wait before main, so the program starts over.
void let_idle_threads_sleep(char** argv) {
    constexpr auto* kPolicy = "OMP_WAIT_POLICY";
    if (std::getenv(kPolicy) != nullptr) return;
    setenv(kPolicy, "passive", 0);
    execv("/proc/self/exe", argv);  // where that can't be done, training is only slower
}

/// A step takes and returns hundreds of megabytes; handing them back to the kernel each time costs a quarter of the
/// training time in page faults. Kept, they cost a fifth more memory.
void keep_freed_memory() {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
}

void complete(Arguments& arguments) {
    arguments.fit.training.threads = arguments.threads;
    arguments.fit.must_stop = [] { return stop_asked.load(); };
    arguments.evaluate.threads = arguments.threads;
    auto& compare = arguments.compare;
    compare.fit.training.threads = arguments.threads;
    compare.fit.must_stop = arguments.fit.must_stop;
    compare.config = arguments.config;
    compare.settings = arguments.settings;
    compare.methods = parse_methods(arguments.methods);
    if (arguments.subset == "all") arguments.evaluate.subset.reset();
    if (arguments.subset == "train") arguments.evaluate.subset = Subset::kTrain;
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app("Trains the models that chorusd runs.", "chorus-train");
    app.set_version_flag("--version", fmt::format("chorus-train {}\n{}", CHORUS_VERSION, torch_description()));
    app.require_subcommand(1);
    Arguments arguments;
    auto* fit_verb = add_fit(app, arguments);
    auto* evaluate_verb = add_evaluate(app, arguments);
    auto* compare_verb = add_compare(app, arguments);
    auto* models_verb = add_models(app, arguments);
    auto* import_verb = add_import(app, arguments);
    auto* retrain_verb = add_retrain(app, arguments);
    auto* rollback_verb = add_rollback(app, arguments);
    Rendezvous rendezvous;
    bool trains = false;
    try {
        app.parse(argc, argv);
        trains = fit_verb->parsed() || compare_verb->parsed() || retrain_verb->parsed();
        rendezvous = find_rendezvous_for(*fit_verb, trains);
        complete(arguments);
        read_configuration(arguments.config, arguments.settings, arguments.configuration);
        arguments.evaluate.data = arguments.fit.data;
        arguments.evaluate.resamples = arguments.fit.resamples;
        validate(arguments.fit.front_end);
        validate(arguments.fit.training);
        if (compare_verb->parsed()) validate(arguments.compare);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? EXIT_SUCCESS : kWrongUsage;
    } catch (const std::invalid_argument& error) {
        fmt::print(stderr, "{}\n", error.what());
        return kWrongUsage;
    } catch (const ConfigError& error) {
        fmt::print(stderr, "{}\n", error.what());
        return kWrongUsage;
    }

    if (!models_verb->parsed()) let_idle_threads_sleep(argv);
    keep_freed_memory();
    const ProcessGroup processes(rendezvous,
                                 std::chrono::milliseconds(std::llround(1000.0 * arguments.fit.peer_timeout_seconds)));
    if (trains) stop_on_signals();
    auto progress = processes.leads() ? make_stderr_progress() : make_silent_progress();
    nlohmann::json report;
    if (fit_verb->parsed()) report = fit(arguments.fit, progress, processes);
    if (evaluate_verb->parsed()) report = evaluate(arguments.evaluate, progress);
    if (compare_verb->parsed()) report = compare(arguments.compare, progress);
    if (models_verb->parsed()) report = list_models(arguments.models);
    if (retrain_verb->parsed()) report = retrain(arguments.configuration.retrain, arguments.fit, progress);
    if (rollback_verb->parsed()) report = roll_back(arguments.configuration.retrain);
    bool all_is_well = true;
    if (import_verb->parsed()) all_is_well = import(arguments, report);
    if (!processes.leads()) return EXIT_SUCCESS;  // the leader tells of it
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return all_is_well ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const chorus::Interrupted& interrupted) {
    fmt::print(stderr, "chorus-train: {}; fit --resume, compare or retrain again, goes on from here\n",
               interrupted.what());
    return kStopped;
} catch (...) {
    fmt::print(stderr, "chorus-train: {}\n", chorus::current_exception_message());
    return EXIT_FAILURE;
}
