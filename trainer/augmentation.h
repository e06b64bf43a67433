#pragma once
// What happens to a training window before the network sees it: a circular shift in time and masks, as Mix2 does
// (arXiv 2403.09598). Works on normalised features [mels, frames] in 0..1.

#include <span>
#include <vector>

#include "trainer/random.h"

namespace chorus {

enum class AugmentationScope {
    kSample,  // every window has its own shift and masks
    kBatch,   // one shift and one set of masks for a whole batch, as Mix2's reference does
};

struct AugmentationParameters {
    bool time_shift = true;
    int frequency_masks = 3;
    int frequency_mask_width = 10;  // mels
    int time_masks = 6;
    int time_mask_width = 30;  // frames
    AugmentationScope scope = AugmentationScope::kSample;
};

struct Mask {
    int start = 0;
    int width = 0;
};

struct Augmentation {
    int shift = 0;  // frames to the right; what leaves comes back on the left
    std::vector<Mask> mels;
    std::vector<Mask> frames;
};

/// A mask's width is floor(U * limit) and its start floor(U * (size - width)), U uniform in [0, 1): torchaudio's
/// FrequencyMasking and TimeMasking. A limit above the size is the size.
Mask draw_mask(int limit, int size, Random& random);

Augmentation draw_augmentation(const AugmentationParameters& parameters, int mels, int frames, Random& random);

/// in, out: [mels, frames], not the same memory. Masked values are 0.
void augment(const Augmentation& augmentation, int mels, int frames, std::span<const float> in, std::span<float> out);

}  // namespace chorus
