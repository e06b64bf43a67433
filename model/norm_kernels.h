#pragma once
// The loops of batch normalisation with the activation behind it, compiled once for each instruction set worth it.
// Internal to model/.
//
// Values lie channels last and flat: `count` of them, the channels' pattern repeating after `period` values. Whatever
// goes with a channel is given `period` times over, so that vectors fill whatever the number of channels is.

#include <span>

#include "model/mobilenet_v3_layers.h"

namespace chorus {

/// y = activation(scale * x + offset)
struct NormLayer {
    Activation activation;  // not kHardsigmoid
    int period;
    const float* scale;
    const float* offset;
};

struct NormKernels {
    const char* instructions;

    /// Adds x - shift and its square to what `sums` and `squares` [period] hold: of so few values that float32 adds
    /// them without harm.
    void (*moments)(const float* x, long count, int period, const float* shift, float* sums, float* squares);

    void (*apply)(const NormLayer& layer, const float* x, long count, float* y);

    /// Adds g and g * (x - mean) to `sums` and `products`, g being dy through the activation.
    void (*gradient_moments)(const NormLayer& layer, const float* x, const float* dy, long count, const float* mean,
                             float* sums, float* products);

    /// dx = scale * g + slope * x + level
    void (*gradient)(const NormLayer& layer, const float* x, const float* dy, long count, const float* slope,
                     const float* level, float* dx);
};

/// All that this machine can run, the fastest first.
std::span<const NormKernels* const> usable_norm_kernels();

}  // namespace chorus
