#pragma once
// The layers of MobileNetV3 as torchvision has them, for the network that trains and the one that scores.

#include <algorithm>
#include <array>
#include <span>

#include "model/bundle.h"

namespace chorus {

enum class Activation { kNone, kRelu, kHardswish, kHardsigmoid };

/// An inverted residual: expand by 1x1 (left out where expanded == in), depthwise, squeeze and excitation, project by
/// 1x1 without an activation, and the input added where its shape is the output's.
struct BlockOptions {
    int in;
    int kernel;
    int expanded;
    int out;
    bool squeeze;
    Activation activation;
    int stride;

    bool residual() const { return stride == 1 && in == out; }
};

inline constexpr double kBatchNormEpsilon = 1e-3;

inline constexpr std::array<BlockOptions, 15> kLargeBlocks = {{{16, 3, 16, 16, false, Activation::kRelu, 1},
                                                               {16, 3, 64, 24, false, Activation::kRelu, 2},
                                                               {24, 3, 72, 24, false, Activation::kRelu, 1},
                                                               {24, 5, 72, 40, true, Activation::kRelu, 2},
                                                               {40, 5, 120, 40, true, Activation::kRelu, 1},
                                                               {40, 5, 120, 40, true, Activation::kRelu, 1},
                                                               {40, 3, 240, 80, false, Activation::kHardswish, 2},
                                                               {80, 3, 200, 80, false, Activation::kHardswish, 1},
                                                               {80, 3, 184, 80, false, Activation::kHardswish, 1},
                                                               {80, 3, 184, 80, false, Activation::kHardswish, 1},
                                                               {80, 3, 480, 112, true, Activation::kHardswish, 1},
                                                               {112, 3, 672, 112, true, Activation::kHardswish, 1},
                                                               {112, 5, 672, 160, true, Activation::kHardswish, 2},
                                                               {160, 5, 960, 160, true, Activation::kHardswish, 1},
                                                               {160, 5, 960, 160, true, Activation::kHardswish, 1}}};

inline constexpr std::array<BlockOptions, 11> kSmallBlocks = {{{16, 3, 16, 16, true, Activation::kRelu, 2},
                                                               {16, 3, 72, 24, false, Activation::kRelu, 2},
                                                               {24, 3, 88, 24, false, Activation::kRelu, 1},
                                                               {24, 5, 96, 40, true, Activation::kHardswish, 2},
                                                               {40, 5, 240, 40, true, Activation::kHardswish, 1},
                                                               {40, 5, 240, 40, true, Activation::kHardswish, 1},
                                                               {40, 5, 120, 48, true, Activation::kHardswish, 1},
                                                               {48, 5, 144, 48, true, Activation::kHardswish, 1},
                                                               {48, 5, 288, 96, true, Activation::kHardswish, 2},
                                                               {96, 5, 576, 96, true, Activation::kHardswish, 1},
                                                               {96, 5, 576, 96, true, Activation::kHardswish, 1}}};

inline std::span<const BlockOptions> blocks_of(Architecture architecture) {
    if (architecture == Architecture::kMobileNetV3Small) return kSmallBlocks;
    return kLargeBlocks;
}

/// Channels that the last convolution, behind the blocks, makes of theirs.
inline int embedding_size_of(Architecture architecture) {
    return 6 * blocks_of(architecture).back().out;
}

/// Channels between the two layers of a squeeze and excitation: a quarter, as the multiple of 8 nearest to it, but
/// never more than a tenth below it.
inline int squeezed_channels(int channels) {
    const int wanted = channels / 4;
    const int rounded = std::max(8, (wanted + 4) / 8 * 8);
    return rounded * 10 < wanted * 9 ? rounded + 8 : rounded;
}

}  // namespace chorus
