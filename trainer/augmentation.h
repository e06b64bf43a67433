#pragma once
// What happens to a training window before the network sees it: a circular shift in time and masks, as Mix2 does
// (arXiv 2403.09598), and before them a gain and a background. Works on normalised features [mels, frames] in 0..1.
//
// A window is normalised between its own lowest and highest dB, so a gain would change nothing but for the floor of the
// logarithm: what lies at the floor stays there (the lowest mel of the usual front-end always does), and all else moves
// against it. Backgrounds are added to a clip's power, mel by mel and frame by frame: what their sum has on average,
// as phases are unknown. For both, the store keeps which dB 0 and 1 of each window are.

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "model/front_end.h"
#include "trainer/random.h"

namespace chorus {

enum class AugmentationScope {
    kSample,  // every window has draws of its own
    kNone,    // windows stay as they are
    kBatch,   // one shift, one set of masks and so on for a whole batch, as Mix2's reference does
};

/// What masks leave of a window that is normalised to 0 to 1.
enum class MaskFill {
    kMean,  // its mean, as SpecAugment has it (arXiv 1904.08779, where spectrograms have mean 0)
    kZero,  // the level of its softest point, far below what is around a call, as Mix2's reference does
};

std::string to_string(AugmentationScope scope);  // "sample", "none", "batch"
std::string to_string(MaskFill fill);            // "mean", "zero"

struct AugmentationParameters {
    bool time_shift = true;
    int frequency_masks = 3;
    int frequency_mask_width = 10;  // mels
    int time_masks = 6;
    double time_mask_seconds = 0.24;  // 30 frames of the paper's front-end
    MaskFill mask_fill = MaskFill::kMean;
    double gain_db = 0.0;                   // a clip becomes louder or quieter by at most so much, evenly drawn
    double background_share = 0.5;          // of the clips that get a background, where there are any
    double background_lowest_snr_db = 0.0;  // mean power of clip over that of background, evenly drawn in dB
    double background_highest_snr_db = 20.0;
    AugmentationScope scope = AugmentationScope::kSample;
};

struct Mask {
    int start = 0;
    int width = 0;
};

struct Augmentation {
    int shift = 0;  // frames to the right; what leaves comes back on the left
    std::vector<Mask> mels = {};
    std::vector<Mask> frames = {};
    MaskFill mask_fill = MaskFill::kMean;
    float gain_db = 0.0F;
    std::optional<std::size_t> background = {};  // which
    float background_snr_db = 0.0F;
};

/// A mask's width is floor(U * limit) and its start floor(U * (size - width)), U uniform in [0, 1): torchaudio's
/// FrequencyMasking and TimeMasking. A limit above the size is the size.
Mask draw_mask(int limit, int size, Random& random);

/// For windows [mels, frames]. backgrounds: how many there are. What is switched off draws nothing.
Augmentation draw_augmentation(const AugmentationParameters& parameters, int mels, int frames, double frame_seconds,
                               std::size_t backgrounds, Random& random);

/// A normalised window, and which dB its 0 and 1 are.
struct ScaledWindow {
    std::span<float> features;
    WindowScale scale;
};

/// Gives the clip the gain, and a background where `augmentation` has one, then normalises it anew.
/// floor_db: of the front-end's logarithm.
void change_sound(const Augmentation& augmentation, const ScaledWindow& background, float floor_db, ScaledWindow& clip);

/// Shift and masks. in, out: [mels, frames], not the same memory.
void augment(const Augmentation& augmentation, int mels, int frames, std::span<const float> in, std::span<float> out);

}  // namespace chorus
