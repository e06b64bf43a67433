#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "trainer/training.h"

namespace chorus {

std::string to_string(Freeze freeze) {
    if (freeze == Freeze::kEmbeddings) return "embeddings";
    return freeze == Freeze::kNetwork ? "network" : "nothing";
}

std::string to_string(Autocast autocast) {
    if (autocast == Autocast::kBfloat16) return "bfloat16";
    return autocast == Autocast::kFloat16 ? "float16" : "none";
}

nlohmann::json describe(const TrainingOptions& options) {
    const auto& mixing = options.mixing;
    const auto& augmentation = options.augmentation;
    return {{"architecture", to_string(options.architecture)},
            {"epochs", options.epochs},
            {"batch", options.batch},
            {"seed", options.seed},
            {"learning_rate", options.learning_rate.rate},
            {"schedule", to_string(options.learning_rate.schedule)},
            {"warm_up_epochs", options.learning_rate.warm_up_epochs},
            {"weight_decay", options.weight_decay},
            {"decay_all_tensors", options.decay_all_tensors},
            {"beta1", options.beta1},
            {"beta2", options.beta2},
            {"clip_norm", options.clip_norm},
            {"weight_average", options.weight_average},
            {"batch_norm_momentum", options.batch_norm_momentum},
            {"loss",
             {{"kind", to_string(options.loss.kind)},
              {"focal_gamma", options.loss.focal_gamma},
              {"positive_gamma", options.loss.positive_gamma},
              {"negative_gamma", options.loss.negative_gamma},
              {"margin", options.loss.margin},
              {"class_weights", to_string(options.class_weights)},
              {"effective_number_beta", options.effective_number_beta},
              {"largest_class_weight", options.largest_class_weight}}},
            {"freeze", to_string(options.freeze)},
            {"sampling", to_string(options.sampling)},
            {"mixing",
             {{"step_share", mixing.step_share},
              {"mixup", mixing.shares.mixup},
              {"manifold", mixing.shares.manifold},
              {"multimix", mixing.shares.multimix},
              {"semantics", to_string(mixing.semantics)},
              {"manifold_layer", to_string(mixing.manifold_layer)},
              {"mixup_alpha", mixing.mixup_alpha},
              {"manifold_alpha", mixing.manifold_alpha},
              {"dirichlet_alpha", mixing.dirichlet_alpha},
              {"multimix_samples", mixing.multimix_samples},
              {"plain_epochs_first", mixing.plain_epochs_first},
              {"plain_epochs_last", mixing.plain_epochs_last}}},
            {"augmentation",
             {{"time_shift", augmentation.time_shift},
              {"frequency_masks", augmentation.frequency_masks},
              {"frequency_mask_width", augmentation.frequency_mask_width},
              {"time_masks", augmentation.time_masks},
              {"mask_fill", to_string(augmentation.mask_fill)},
              {"time_mask_seconds", augmentation.time_mask_seconds},
              {"gain_db", augmentation.gain_db},
              {"background_share", augmentation.background_share},
              {"background_lowest_snr_db", augmentation.background_lowest_snr_db},
              {"background_highest_snr_db", augmentation.background_highest_snr_db},
              {"scope", to_string(augmentation.scope)}}},
            {"autocast", to_string(options.autocast)},
            {"precision", options.precision == TensorType::kFloat16 ? "half" : "float"}};
}

void validate(const TrainingOptions& options) {
    const auto require = [](bool holds, std::string_view what) {
        if (!holds) throw std::invalid_argument(std::string(what));
    };
    require(options.epochs >= 0 && options.epochs <= 100'000, "epochs must be 0 to 100000");
    require(options.batch >= 2 && options.batch <= 65'536, "batch must be 2 to 65536");
    require(options.learning_rate.rate > 0.0 && options.learning_rate.rate <= 10.0,
            "learning rate must be above 0, at most 10");
    require(options.weight_decay >= 0.0 && options.weight_decay <= 10.0, "weight decay must be 0 to 10");
    require(options.batch_norm_momentum > 0.0 && options.batch_norm_momentum <= 1.0,
            "batch-norm momentum must be above 0, at most 1");
    require(options.threads >= 1 && options.threads <= 1024, "threads must be 1 to 1024");
    const auto& mixing = options.mixing;
    require(mixing.mixup_alpha > 0.0 && mixing.manifold_alpha > 0.0 && mixing.dirichlet_alpha > 0.0,
            "mixing's alphas must be above 0");
    require(std::min({mixing.shares.mixup, mixing.shares.manifold, mixing.shares.multimix}) >= 0.0,
            "mixing's shares must be 0 or more");
    require(mixing.step_share > 0.0 && mixing.step_share <= 1.0, "the share of mixed steps must be above 0, at most 1");
    require(options.weight_average >= 0.0 && options.weight_average < 1.0, "weight average must be 0 to below 1");
    require(options.clip_norm >= 0.0, "clip norm must be 0 or more");
}

}  // namespace chorus
