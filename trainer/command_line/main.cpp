// chorus-train: fits, judges and lists model bundles.

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "config/program.h"
#include "model/classifier.h"
#include "trainer/fit.h"
#include "trainer/model_list.h"

namespace {

using namespace chorus;

constexpr int kWrongUsage = 2;

/// Mix2 states the first; its released code runs with the second, since it never passes the stated one on.
constexpr double kPaperWeightDecay = 1e-6;
constexpr double kReferenceWeightDecay = 0.01;

/// What the command line says, as text where it names one of several.
struct Arguments {
    FitOptions fit;
    std::string architecture = "large";
    std::string mix = "mix2";
    std::string semantics = "paper";
    std::string precision = "half";
    std::string augmentation = "sample";
    std::optional<double> weight_decay;
    EvaluateOptions evaluate;
    std::string subset = "test";
    std::filesystem::path models;
    int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
};

void add_threads(CLI::App& verb, Arguments& arguments) {
    verb.add_option("--threads", arguments.threads, "Threads; results are the same bits for the same number")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
}

CLI::App* add_fit(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("fit", "Train a model on labelled clips and write its bundle");
    auto& front_end = arguments.fit.front_end;
    auto& training = arguments.fit.training;
    verb->add_option("--dataset", arguments.fit.dataset, "Folder with metadata.csv and audio/, as AnuraSet's")
        ->required();
    verb->add_option("--out", arguments.fit.out, "Bundle to write (.safetensors)")->required();
    verb->add_option("--architecture", arguments.architecture, "MobileNetV3's size")
        ->check(CLI::IsMember({"large", "small"}))
        ->capture_default_str();
    verb->add_option("--hop", front_end.hop, "Samples between spectrogram frames, at 16 kHz")->capture_default_str();
    verb->add_option("--mels", front_end.mels, "Mel bands")->capture_default_str();
    verb->add_option("--epochs", training.epochs, "Passes over the training clips")->capture_default_str();
    verb->add_option("--batch", training.batch, "Clips a step")->capture_default_str();
    verb->add_option("--seed", training.seed, "One seed gives one result on the CPU")->capture_default_str();
    verb->add_option("--mix", arguments.mix, "How a step mixes its clips")
        ->check(CLI::IsMember({"none", "mixup", "manifold", "multimix", "mix2"}))
        ->capture_default_str();
    verb->add_option("--semantics", arguments.semantics, "Mixing as Mix2 is described, or as its released code does it")
        ->check(CLI::IsMember({"paper", "reference"}))
        ->capture_default_str();
    verb->add_option("--augmentation", arguments.augmentation,
                     "Shift and masks for each clip, one set for a batch, or none")
        ->check(CLI::IsMember({"sample", "batch", "none"}))
        ->capture_default_str();
    verb->add_option("--learning-rate", training.learning_rate, "AdamW's, at the start of the cosine")
        ->capture_default_str();
    verb->add_option(
        "--weight-decay", arguments.weight_decay,
        fmt::format("AdamW's [{:g}; {:g} with reference semantics]", kPaperWeightDecay, kReferenceWeightDecay));
    verb->add_option("--batch-norm-momentum", training.batch_norm_momentum,
                     "Short runs want more than torchvision's 0.01")
        ->capture_default_str();
    verb->add_option("--precision", arguments.precision, "Of the weights in the bundle")
        ->check(CLI::IsMember({"half", "float"}))
        ->capture_default_str();
    verb->add_option("--longitude", arguments.fit.activity.longitude_deg,
                     "Of the recorders, in degrees east: hours of activity are then solar ones, else UTC")
        ->check(CLI::Range(-180.0, 180.0));
    verb->add_option("--clock-ahead", arguments.fit.activity.clock_ahead_hours,
                     "Hours by which the recorders' clocks are ahead of UTC, where their names don't tell")
        ->check(CLI::Range(-14.0, 14.0))
        ->capture_default_str();
    add_threads(*verb, arguments);
    return verb;
}

CLI::App* add_evaluate(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("evaluate", "Score a dataset's clips with a bundle");
    verb->add_option("--model", arguments.evaluate.model, "Bundle")->required();
    verb->add_option("--dataset", arguments.evaluate.dataset, "Folder with metadata.csv and audio/, as AnuraSet's")
        ->required();
    verb->add_option("--subset", arguments.subset, "Which clips")
        ->check(CLI::IsMember({"train", "test"}))
        ->capture_default_str();
    add_threads(*verb, arguments);
    return verb;
}

CLI::App* add_models(CLI::App& app, Arguments& arguments) {
    auto* verb = app.add_subcommand("models", "List the bundles of a folder");
    verb->add_option("folder", arguments.models, "Folder")->required();
    return verb;
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
    auto& training = arguments.fit.training;
    training.architecture =
        arguments.architecture == "large" ? Architecture::kMobileNetV3Large : Architecture::kMobileNetV3Small;
    training.mixing.mixing = parse_mixing(arguments.mix).value();
    training.mixing.semantics = parse_semantics(arguments.semantics).value();
    const bool reference = training.mixing.semantics == MixingSemantics::kReference;
    training.weight_decay = arguments.weight_decay.value_or(reference ? kReferenceWeightDecay : kPaperWeightDecay);
    training.precision = arguments.precision == "half" ? TensorType::kFloat16 : TensorType::kFloat32;
    training.threads = arguments.threads;
    if (arguments.augmentation == "none")
        training.augmentation = {.time_shift = false, .frequency_masks = 0, .time_masks = 0};
    else if (arguments.augmentation == "batch")
        training.augmentation.scope = AugmentationScope::kBatch;
    arguments.evaluate.threads = arguments.threads;
    arguments.evaluate.subset = arguments.subset == "test" ? Subset::kTest : Subset::kTrain;
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app("Trains the models that chorusd runs.", "chorus-train");
    app.set_version_flag("--version", fmt::format("chorus-train {}\n{}", CHORUS_VERSION, torch_description()));
    app.require_subcommand(1);
    Arguments arguments;
    auto* fit_verb = add_fit(app, arguments);
    auto* evaluate_verb = add_evaluate(app, arguments);
    auto* models_verb = add_models(app, arguments);
    try {
        app.parse(argc, argv);
        complete(arguments);
        validate(arguments.fit.front_end);
        validate(arguments.fit.training);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? EXIT_SUCCESS : kWrongUsage;
    } catch (const std::invalid_argument& error) {
        fmt::print(stderr, "{}\n", error.what());
        return kWrongUsage;
    }

    if (!models_verb->parsed()) let_idle_threads_sleep(argv);
    keep_freed_memory();
    auto progress = make_stderr_progress();
    nlohmann::json report;
    if (fit_verb->parsed()) report = fit(arguments.fit, progress);
    if (evaluate_verb->parsed()) report = evaluate(arguments.evaluate, progress);
    if (models_verb->parsed()) report = list_models(arguments.models);
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return EXIT_SUCCESS;
} catch (...) {
    fmt::print(stderr, "chorus-train: {}\n", chorus::current_exception_message());
    return EXIT_FAILURE;
}
