#include "trainer/augmentation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace chorus {
namespace {

/// The front-end's logarithm comes within this of its floor.
constexpr float kFloorSlackDb = 0.01F;

/// 0 at the floor: there, nothing is known but that it is less.
float power_of(float db, float floor_db) {
    return db > floor_db + kFloorSlackDb ? std::pow(10.0F, db / 10.0F) : 0.0F;
}

/// Both in dB. A background that lies at the floor adds nothing.
void add_power(std::span<const float> background, float snr_db, float floor_db, std::span<float> clip) {
    double of_clip = 0.0;
    double of_background = 0.0;
    for (const float db : clip) of_clip += power_of(db, floor_db);
    for (const float db : background) of_background += power_of(db, floor_db);
    if (of_background == 0.0) return;
    const auto share = static_cast<float>(of_clip / of_background * std::pow(10.0, -snr_db / 10.0));
    for (std::size_t i = 0; i < clip.size(); ++i) {
        const float power = power_of(clip[i], floor_db) + share * power_of(background[i], floor_db);
        clip[i] = power > 0.0F ? std::max(10.0F * std::log10(power), floor_db) : floor_db;
    }
}

float mean_of(std::span<const float> values) {
    return static_cast<float>(std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()));
}

}  // namespace

std::string to_string(AugmentationScope scope) {
    if (scope == AugmentationScope::kNone) return "none";
    return scope == AugmentationScope::kBatch ? "batch" : "sample";
}

std::string to_string(MaskFill fill) {
    return fill == MaskFill::kZero ? "zero" : "mean";
}

Mask draw_mask(int limit, int size, Random& random) {
    const double width = std::floor(random.uniform() * std::min(limit, size));
    const double start = std::floor(random.uniform() * (size - width));
    return {.start = static_cast<int>(start), .width = static_cast<int>(width)};
}

Augmentation draw_augmentation(const AugmentationParameters& parameters, int mels, int frames, double frame_seconds,
                               std::size_t backgrounds, Random& random) {
    if (parameters.scope == AugmentationScope::kNone) return {};
    Augmentation augmentation{.mask_fill = parameters.mask_fill};
    if (parameters.time_shift) augmentation.shift = static_cast<int>(random.below(static_cast<std::size_t>(frames)));
    for (int i = 0; i < parameters.frequency_masks; ++i)
        augmentation.mels.push_back(draw_mask(parameters.frequency_mask_width, mels, random));
    const auto time_mask_width = static_cast<int>(std::lround(parameters.time_mask_seconds / frame_seconds));
    for (int i = 0; i < parameters.time_masks; ++i)
        augmentation.frames.push_back(draw_mask(time_mask_width, frames, random));
    const auto between = [&random](double low, double high) {
        return static_cast<float>(low + (high - low) * random.uniform());
    };
    if (parameters.gain_db > 0.0) augmentation.gain_db = between(-parameters.gain_db, parameters.gain_db);
    if (backgrounds > 0 && random.uniform() < parameters.background_share) {
        augmentation.background = random.below(backgrounds);
        augmentation.background_snr_db =
            between(parameters.background_lowest_snr_db, parameters.background_highest_snr_db);
    }
    return augmentation;
}

void change_sound(const Augmentation& augmentation, const ScaledWindow& background, float floor_db,
                  ScaledWindow& clip) {
    const auto to_db = [](const ScaledWindow& window) {
        const auto [lowest_db, highest_db] = window.scale;
        for (auto& value : window.features) value = lowest_db + value * (highest_db - lowest_db);
    };
    to_db(clip);
    if (augmentation.background) {
        to_db(background);
        add_power(background.features, augmentation.background_snr_db, floor_db, clip.features);
    }
    for (auto& value : clip.features)
        value = value > floor_db + kFloorSlackDb ? std::max(value + augmentation.gain_db, floor_db) : floor_db;
    const auto [lowest, highest] = std::minmax_element(clip.features.begin(), clip.features.end());
    clip.scale = {.lowest_db = *lowest, .highest_db = *highest};
    const float range = *highest > *lowest ? *highest - *lowest : 1.0F;
    for (auto& value : clip.features) value = (value - clip.scale.lowest_db) / range;
}

void augment(const Augmentation& augmentation, int mels, int frames, std::span<const float> in, std::span<float> out) {
    const auto row_size = static_cast<std::size_t>(frames);
    const auto shift = static_cast<std::size_t>(augmentation.shift) % row_size;
    const float fill = augmentation.mask_fill == MaskFill::kMean ? mean_of(in) : 0.0F;
    for (std::size_t mel = 0; mel < static_cast<std::size_t>(mels); ++mel) {
        const auto from = in.subspan(mel * row_size, row_size);
        const auto to = out.subspan(mel * row_size, row_size);
        std::rotate_copy(from.begin(), from.end() - static_cast<std::ptrdiff_t>(shift), from.end(), to.begin());
        for (const auto& mask : augmentation.frames) std::fill_n(to.begin() + mask.start, mask.width, fill);
    }
    for (const auto& mask : augmentation.mels)
        std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(mask.start) * frames,
                    static_cast<std::ptrdiff_t>(mask.width) * frames, fill);
}

}  // namespace chorus
