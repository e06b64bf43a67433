#include "trainer/augmentation.h"

#include <algorithm>
#include <cmath>

namespace chorus {

Mask draw_mask(int limit, int size, Random& random) {
    const double width = std::floor(random.uniform() * std::min(limit, size));
    const double start = std::floor(random.uniform() * (size - width));
    return {.start = static_cast<int>(start), .width = static_cast<int>(width)};
}

Augmentation draw_augmentation(const AugmentationParameters& parameters, int mels, int frames, Random& random) {
    Augmentation augmentation;
    if (parameters.time_shift) augmentation.shift = static_cast<int>(random.below(static_cast<std::size_t>(frames)));
    for (int i = 0; i < parameters.frequency_masks; ++i)
        augmentation.mels.push_back(draw_mask(parameters.frequency_mask_width, mels, random));
    for (int i = 0; i < parameters.time_masks; ++i)
        augmentation.frames.push_back(draw_mask(parameters.time_mask_width, frames, random));
    return augmentation;
}

void augment(const Augmentation& augmentation, int mels, int frames, std::span<const float> in, std::span<float> out) {
    const auto row_size = static_cast<std::size_t>(frames);
    const auto shift = static_cast<std::size_t>(augmentation.shift) % row_size;
    for (std::size_t mel = 0; mel < static_cast<std::size_t>(mels); ++mel) {
        const auto from = in.subspan(mel * row_size, row_size);
        const auto to = out.subspan(mel * row_size, row_size);
        std::rotate_copy(from.begin(), from.end() - static_cast<std::ptrdiff_t>(shift), from.end(), to.begin());
        for (const auto& mask : augmentation.frames) std::fill_n(to.begin() + mask.start, mask.width, 0.0F);
    }
    for (const auto& mask : augmentation.mels)
        std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(mask.start) * frames,
                    static_cast<std::ptrdiff_t>(mask.width) * frames, 0.0F);
}

}  // namespace chorus
