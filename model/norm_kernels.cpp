// Compiled several times, as network_kernels.cpp is.

#include "model/norm_kernels.h"

namespace chorus::CHORUS_KERNELS {
namespace {

template <Activation kActivation>
inline float activate(float z) {
    if constexpr (kActivation == Activation::kRelu) return z < 0.0F ? 0.0F : z;  // what is no number stays none
    if constexpr (kActivation == Activation::kHardswish) {
        const float above = z + 3.0F > 0.0F ? z + 3.0F : 0.0F;
        return z * (above < 6.0F ? above : 6.0F) * (1.0F / 6.0F);
    }
    return z;
}

/// dy through the activation at z; on the corners of a hardswish as LibTorch has it.
template <Activation kActivation>
inline float back(float z, float dy) {
    if constexpr (kActivation == Activation::kRelu) return z <= 0.0F ? 0.0F : dy;
    if constexpr (kActivation == Activation::kHardswish) {
        const float slope = z * (1.0F / 3.0F) + 0.5F;
        const float bounded = z <= 3.0F ? slope : 1.0F;
        return dy * (z < -3.0F ? 0.0F : bounded);
    }
    return dy;
}

/// One pass over the pattern at a time: body(place, position in the pattern).
template <typename Body>
inline void for_each_value(long count, int period, const Body& body) {
    for (long at = 0; at < count; at += period) {
        const int here = static_cast<int>(count - at < period ? count - at : period);
#pragma GCC ivdep
        for (int i = 0; i < here; ++i) body(at + i, i);
    }
}

template <typename Run>
inline void with_activation(Activation activation, const Run& run) {
    switch (activation) {
        case Activation::kRelu:
            return run.template operator()<Activation::kRelu>();
        case Activation::kHardswish:
            return run.template operator()<Activation::kHardswish>();
        case Activation::kHardsigmoid:
        case Activation::kNone:
            return run.template operator()<Activation::kNone>();
    }
}

void moments(const float* x, long count, int period, const float* shift, float* sums, float* squares) {
    for_each_value(count, period, [=](long at, int i) {
        const float value = x[at] - shift[i];
        sums[i] += value;
        squares[i] += value * value;
    });
}

void apply(const NormLayer& layer, const float* x, long count, float* y) {
    const auto* const scale = layer.scale;
    const auto* const offset = layer.offset;
    with_activation(layer.activation, [=, period = layer.period]<Activation kActivation> {
        for_each_value(count, period,
                       [=](long at, int i) { y[at] = activate<kActivation>(scale[i] * x[at] + offset[i]); });
    });
}

void gradient_moments(const NormLayer& layer, const float* x, const float* dy, long count, const float* mean,
                      float* sums, float* products) {
    const auto* const scale = layer.scale;
    const auto* const offset = layer.offset;
    with_activation(layer.activation, [=, period = layer.period]<Activation kActivation> {
        for_each_value(count, period, [=](long at, int i) {
            const float g = back<kActivation>(scale[i] * x[at] + offset[i], dy[at]);
            sums[i] += g;
            products[i] += g * (x[at] - mean[i]);
        });
    });
}

void gradient(const NormLayer& layer, const float* x, const float* dy, long count, const float* slope,
              const float* level, float* dx) {
    const auto* const scale = layer.scale;
    const auto* const offset = layer.offset;
    with_activation(layer.activation, [=, period = layer.period]<Activation kActivation> {
        for_each_value(count, period, [=](long at, int i) {
            const float g = back<kActivation>(scale[i] * x[at] + offset[i], dy[at]);
            dx[at] = scale[i] * g + slope[i] * x[at] + level[i];
        });
    });
}

}  // namespace

extern const NormKernels norm_kernels;
const NormKernels norm_kernels{.instructions = CHORUS_INSTRUCTIONS,
                               .moments = moments,
                               .apply = apply,
                               .gradient_moments = gradient_moments,
                               .gradient = gradient};

}  // namespace chorus::CHORUS_KERNELS
