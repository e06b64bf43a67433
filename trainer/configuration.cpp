#include "trainer/configuration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "config/config_reader.h"

namespace chorus {
namespace {

constexpr double kMostEpochs = 100'000;

/// Mix2 states the first; its released code runs with the second, since it never passes the stated one on.
constexpr double kPaperWeightDecay = 1e-6;
constexpr double kReferenceWeightDecay = 0.01;

template <typename Value, std::size_t N>
void choose(ConfigSection& section, std::string_view key, const std::array<Value, N>& values, Value& value) {
    std::vector<std::string> names;
    for (const auto known : values) names.push_back(to_string(known));
    const auto name = section.choice(key, names, to_string(value));
    value = values[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())];
}

void read_int(ConfigSection& section, std::string_view key, int& value, int least, int most) {
    value = static_cast<int>(section.integer(key, value, least, most));
}

void read_number(ConfigSection& section, std::string_view key, double& value, double least, double most) {
    value = section.number(key, value, least, most);
}

void read_model(ConfigSection section, TrainingOptions& training) {
    const bool large = training.architecture == Architecture::kMobileNetV3Large;
    training.architecture = section.choice("architecture", {"large", "small"}, large ? "large" : "small") == "large"
                                ? Architecture::kMobileNetV3Large
                                : Architecture::kMobileNetV3Small;
    const bool half = training.precision == TensorType::kFloat16;
    training.precision = section.choice("precision", {"half", "float"}, half ? "half" : "float") == "half"
                             ? TensorType::kFloat16
                             : TensorType::kFloat32;
}

void read_front_end(ConfigSection section, FrontEndParameters& front_end) {
    read_number(section, "window_seconds", front_end.window_seconds, 0.1, 60.0);
    read_int(section, "n_fft", front_end.n_fft, 16, 16'384);
    read_int(section, "hop", front_end.hop, 1, 16'384);
    read_int(section, "mels", front_end.mels, 1, 1024);
    read_number(section, "f_min_hz", front_end.f_min_hz, 0.0, 8000.0);
    read_number(section, "f_max_hz", front_end.f_max_hz, 0.0, 8000.0);
}

void read_training(ConfigSection section, FitOptions& options) {
    auto& training = options.training;
    read_int(section, "epochs", training.epochs, 0, static_cast<int>(kMostEpochs));
    read_int(section, "batch", training.batch, 2, 65'536);
    training.seed = static_cast<std::uint64_t>(
        section.integer("seed", static_cast<std::int64_t>(training.seed), 0, std::int64_t{1} << 62));
    read_number(section, "batch_norm_momentum", training.batch_norm_momentum, 1e-6, 1.0);
    choose(section, "sampling", std::array{Sampling::kPlain, Sampling::kBalanced, Sampling::kClassAware},
           training.sampling);
    choose(section, "freeze", std::array{Freeze::kNothing, Freeze::kNetwork, Freeze::kEmbeddings}, training.freeze);
    read_number(section, "checkpoint_seconds", options.checkpoint_seconds, 0.0, 1e6);
    training.device = section.text("device", training.device);
    choose(section, "autocast", std::array{Autocast::kNone, Autocast::kBfloat16, Autocast::kFloat16},
           training.autocast);
    read_number(section, "peer_timeout_seconds", options.peer_timeout_seconds, 1.0, 1e5);
}

void read_optimiser(ConfigSection section, TrainingOptions& training) {
    read_number(section, "learning_rate", training.learning_rate.rate, 1e-9, 10.0);
    choose(section, "schedule", std::array{Schedule::kCosineByEpoch, Schedule::kCosineByStep, Schedule::kConstant},
           training.learning_rate.schedule);
    read_number(section, "warm_up_epochs", training.learning_rate.warm_up_epochs, 0.0, kMostEpochs);
    read_number(section, "weight_decay", training.weight_decay, 0.0, 10.0);
    training.decay_all_tensors = section.flag("decay_all_tensors", training.decay_all_tensors);
    read_number(section, "beta1", training.beta1, 0.0, 0.999999);
    read_number(section, "beta2", training.beta2, 0.0, 0.999999);
    read_number(section, "clip_norm", training.clip_norm, 0.0, 1e9);
    read_number(section, "weight_average", training.weight_average, 0.0, 0.999999);
}

void read_loss(ConfigSection section, TrainingOptions& training) {
    auto& loss = training.loss;
    choose(section, "kind", std::array{LossKind::kBinaryCrossEntropy, LossKind::kFocal, LossKind::kAsymmetric},
           loss.kind);
    read_number(section, "focal_gamma", loss.focal_gamma, 0.0, 10.0);
    read_number(section, "positive_gamma", loss.positive_gamma, 0.0, 10.0);
    read_number(section, "negative_gamma", loss.negative_gamma, 0.0, 10.0);
    read_number(section, "margin", loss.margin, 0.0, 0.9);
    choose(section, "class_weights",
           std::array{ClassWeights::kNone, ClassWeights::kInverseFrequency, ClassWeights::kEffectiveNumber},
           training.class_weights);
    read_number(section, "effective_number_beta", training.effective_number_beta, 0.0, 0.9999999);
    read_number(section, "largest_class_weight", training.largest_class_weight, 1.0, 1e6);
}

void read_mixing(ConfigSection section, MixingParameters& mixing) {
    if (section.has("method")) {
        const auto method = section.text("method", "mix2");
        if (const auto shares = parse_method(method))
            mixing.shares = *shares;
        else
            section.fault("method",
                          fmt::format("\"{}\" must be none, mixup, manifold, multimix, several of these three "
                                      "joined by '+', or mix2",
                                      method));
    }
    choose(section, "semantics", std::array{MixingSemantics::kPaper, MixingSemantics::kReference}, mixing.semantics);
    choose(section, "manifold_layer", std::array{ManifoldLayer::kEmbedding, ManifoldLayer::kRandom},
           mixing.manifold_layer);
    read_number(section, "step_share", mixing.step_share, 1e-3, 1.0);
    read_number(section, "mixup_alpha", mixing.mixup_alpha, 1e-3, 1e3);
    read_number(section, "manifold_alpha", mixing.manifold_alpha, 1e-3, 1e3);
    read_number(section, "dirichlet_alpha", mixing.dirichlet_alpha, 1e-4, 1e3);
    read_int(section, "multimix_samples", mixing.multimix_samples, 0, 65'536);
    read_int(section, "plain_epochs_first", mixing.plain_epochs_first, 0, static_cast<int>(kMostEpochs));
    read_int(section, "plain_epochs_last", mixing.plain_epochs_last, 0, static_cast<int>(kMostEpochs));
    auto& shares = mixing.shares;
    read_number(section, "mixup", shares.mixup, 0.0, 1e6);
    read_number(section, "manifold", shares.manifold, 0.0, 1e6);
    read_number(section, "multimix", shares.multimix, 0.0, 1e6);
}

void read_augmentation(ConfigSection section, FitOptions& options) {
    auto& augmentation = options.training.augmentation;
    choose(section, "scope",
           std::array{AugmentationScope::kSample, AugmentationScope::kBatch, AugmentationScope::kNone},
           augmentation.scope);
    augmentation.time_shift = section.flag("time_shift", augmentation.time_shift);
    read_int(section, "frequency_masks", augmentation.frequency_masks, 0, 1000);
    read_int(section, "frequency_mask_width", augmentation.frequency_mask_width, 0, 1024);
    choose(section, "mask_fill", std::array{MaskFill::kMean, MaskFill::kZero}, augmentation.mask_fill);
    read_int(section, "time_masks", augmentation.time_masks, 0, 1000);
    read_number(section, "time_mask_seconds", augmentation.time_mask_seconds, 0.0, 60.0);
    read_number(section, "gain_db", augmentation.gain_db, 0.0, 60.0);
    options.background = section.text("background", options.background.string());
    read_number(section, "background_share", augmentation.background_share, 0.0, 1.0);
    read_number(section, "background_lowest_snr_db", augmentation.background_lowest_snr_db, -60.0, 60.0);
    read_number(section, "background_highest_snr_db", augmentation.background_highest_snr_db, -60.0, 60.0);
    if (augmentation.background_lowest_snr_db > augmentation.background_highest_snr_db)
        section.fault("background_lowest_snr_db", "must not be above background_highest_snr_db");
}

void read_activity(ConfigSection section, ActivityOptions& activity) {
    if (section.has("longitude")) activity.longitude_deg = section.number("longitude", 0.0, -180.0, 180.0);
    read_number(section, "clock_ahead", activity.clock_ahead_hours, -14.0, 14.0);
}

void read_data(ConfigSection section, DataOptions& data) {
    choose(section, "layout",
           std::array{Layout::kAuto, Layout::kAnuraSet, Layout::kAnuraSetStrong, Layout::kEsc50, Layout::kCsv,
                      Layout::kTables},
           data.layout);
    read_number(section, "window_hop_seconds", data.window_hop_seconds, 0.05, 3600.0);
    read_number(section, "overlap_seconds", data.overlap_seconds, 0.0, 60.0);
    const auto unlabelled =
        section.choice("unlabelled", {"absent", "unknown"}, data.unlabelled_is_absence ? "absent" : "unknown");
    data.unlabelled_is_absence = unlabelled == "absent";
    read_number(section, "test_share", data.test_share, 0.0, 1.0);
    read_int(section, "test_fold", data.test_fold, 1, 1000);
    data.strict = section.flag("strict", data.strict);
    data.cache = section.text("cache", data.cache.string());
}

void read_thresholds(ConfigSection section, ThresholdOptions& thresholds) {
    choose(section, "rule", std::array{ThresholdRule::kFBeta, ThresholdRule::kPrecision}, thresholds.rule);
    read_number(section, "beta", thresholds.beta, 0.01, 100.0);
    read_number(section, "precision", thresholds.precision, 0.0, 1.0);
    read_number(section, "prior_positives", thresholds.prior_positives, 0.0, 1e6);
}

void read_evaluation(ConfigSection section, FitOptions& options) {
    read_int(section, "resamples", options.resamples, 0, 1'000'000);
    auto& groups = options.groups;
    if (section.has("frequent")) groups.frequent = section.texts("frequent");
    if (section.has("common")) groups.common = section.texts("common");
    read_number(section, "frequent_share", groups.frequent_share, 0.0, 1.0);
    read_number(section, "common_share", groups.common_share, 0.0, 1.0);
}

void read_retrain(ConfigSection section, RetrainOptions& retrain) {
    retrain.station = section.text("station", retrain.station.string());
    choose(section, "scope", std::array{RetrainScope::kHead, RetrainScope::kFull}, retrain.scope);
    read_int(section, "min_new_labels", retrain.min_new_labels, 0, 1'000'000);
    read_int(section, "min_positives", retrain.gates.min_positives, 1, 1'000'000);
    read_number(section, "margin", retrain.gates.margin, 0.0, 1.0);
    read_number(section, "certainty", retrain.gates.certainty, 0.0, 0.999);
    retrain.noise = section.text("noise", retrain.noise.string());
    read_number(section, "noise_limit", retrain.gates.noise_limit, 0.0, 1e6);
    read_number(section, "noise_rise", retrain.gates.noise_rise, 0.0, 1e6);
    read_number(section, "shadow_hours", retrain.shadow_hours, 0.0, 1e5);
    read_int(section, "keep_models", retrain.keep_models, 0, 100'000);
    retrain.metrics = section.text("metrics", retrain.metrics.string());
}

void read_document(ConfigDocument& document, Configuration& configuration) {
    document.throw_if_unreadable();
    auto root = document.root();
    auto& options = configuration.fit;
    read_model(root.section("model"), options.training);
    read_data(root.section("data"), options.data);
    read_front_end(root.section("front_end"), options.front_end);
    read_training(root.section("training"), options);
    read_optimiser(root.section("optimiser"), options.training);
    read_loss(root.section("loss"), options.training);
    read_mixing(root.section("mixing"), options.training.mixing);
    read_augmentation(root.section("augmentation"), options);
    read_activity(root.section("activity"), options.activity);
    read_thresholds(root.section("thresholds"), options.thresholds);
    read_evaluation(root.section("evaluation"), options);
    read_retrain(root.section("retrain"), configuration.retrain);
    document.finish();
}

/// What both texts say together, the settings first. Read apart, so that a fault isn't noted twice.
MixingSemantics semantics_of(std::string_view settings, std::string_view file) {
    for (const auto text : {settings, file}) {
        ConfigDocument document(text, {});
        auto mixing = document.root().section("mixing");
        if (!mixing.has("semantics")) continue;
        const bool is_reference = mixing.text("semantics", {}) == to_string(MixingSemantics::kReference);
        return is_reference ? MixingSemantics::kReference : MixingSemantics::kPaper;
    }
    return MixingSemantics::kPaper;
}

/// Those that neither the file nor the settings have to name.
void take_defaults_of(MixingSemantics semantics, TrainingOptions& training) {
    const bool is_reference = semantics == MixingSemantics::kReference;
    training.weight_decay = is_reference ? kReferenceWeightDecay : kPaperWeightDecay;
    if (!is_reference) return;
    auto& mixing = training.mixing;
    mixing.step_share = 1.0;
    mixing.manifold_layer = ManifoldLayer::kEmbedding;
    mixing.plain_epochs_first = 0;
    training.augmentation.scope = AugmentationScope::kBatch;
    training.augmentation.mask_fill = MaskFill::kZero;
}

/// A number or truth value as it is, anything else as a TOML text.
std::string toml_value(std::string_view value) {
    const bool plain = value == "true" || value == "false" ||
                       (!value.empty() && value.find_first_not_of("0123456789+-.e") == std::string_view::npos &&
                        value.find_first_of("0123456789") != std::string_view::npos);
    if (plain) return std::string(value);
    std::string text = "\"";
    for (const char c : value) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
            continue;
        }
        if (c == '"' || c == '\\') text += '\\';
        text += c;
    }
    return text + '"';
}

[[noreturn]] void fail(const std::string& key, std::string text) {
    throw ConfigError({{.file = "command line", .line = 0, .key = key, .text = std::move(text)}});
}

/// The settings as a document of their own, which the same reader reads.
std::string as_toml(const std::vector<Setting>& settings) {
    std::map<std::string, std::map<std::string, std::string>> sections;
    for (const auto& [name, value] : settings) {
        const auto dot = name.find('.');
        const auto is_name = [](std::string_view part) {
            return !part.empty() && part.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == part.npos;
        };
        const auto section = name.substr(0, dot);
        const auto key = dot == name.npos ? std::string() : name.substr(dot + 1);
        if (!is_name(section) || !is_name(key)) fail(name, "is no key such as training.epochs");
        sections[section][key] = toml_value(value);
    }
    std::string text;
    for (const auto& [section, keys] : sections) {
        text += fmt::format("[{}]\n", section);
        for (const auto& [key, value] : keys) text += fmt::format("{} = {}\n", key, value);
    }
    return text;
}

}  // namespace

void read_configuration(const std::filesystem::path& file, const std::vector<Setting>& settings,
                        Configuration& configuration) {
    std::optional<ConfigDocument> of_file;
    if (!file.empty()) of_file.emplace(file).throw_if_unreadable();
    ConfigDocument of_settings(as_toml(settings), "command line");
    take_defaults_of(semantics_of(of_settings.text(), of_file ? of_file->text() : std::string()),
                     configuration.fit.training);
    if (of_file) read_document(*of_file, configuration);
    try {
        read_document(of_settings, configuration);
    } catch (const ConfigError& error) {
        auto faults = error.faults();
        for (auto& fault : faults) fault.line = 0;  // of a text that nobody sees
        throw ConfigError(std::move(faults));
    }
}

}  // namespace chorus
