#pragma once
// The loops in which scoring spends its time, compiled once for each instruction set worth it. Internal to model/.
// Activations are [pixel, channel]; every number of channels is padded to a multiple of Kernels::lanes, by channels
// that are zero. One pixel's values are computed in the same order whatever its neighbours are.

#include <cstdint>
#include <span>

#include "model/mobilenet_v3_layers.h"
#include "model/precision.h"

namespace chorus {

/// Vectors across the panel that begins `left` vectors before the end of a 1x1 convolution's weights. A panel is
/// [in, vectors * lanes], so that a tile of it times a few pixels stays in the processor's registers; of bfloat16
/// [in / 2 rounded up, vectors * lanes], each the weights of two input channels, the first in the lower half.
[[gnu::always_inline]] constexpr int panel_vectors(int left) {
    if (left == 1) return 1;
    return left == 2 || left == 4 ? 2 : 3;
}

struct PointwiseLayer {  // out[p][o] = activation(bias[o] + sum over i of in[p][i] weight[o][i] + residual[p][o])
    int in;
    int in_stride;  // `in` padded: from a pixel to the next
    int out;
    Activation activation;
    const float* weights;  // panels, one after the other
    const float* bias;     // [out]
};

struct DepthwiseLayer {
    int channels;
    int kernel;             // 3 or 5; padded by kernel / 2
    int stride;             // 1 or 2
    Activation activation;  // kRelu or kHardswish
    const float* weights;   // [channels / lanes, kernel, kernel, lanes]
    const float* bias;      // [channels]
};

struct StemLayer {  // one channel in, 3x3, stride 2, hardswish
    int channels;
    const float* weights;  // [3, 3, channels]
    const float* bias;
};

struct Kernels {
    const char* instructions;
    int lanes;            // floats of a vector
    Precision precision;  // of 1x1 convolutions

    /// A layer with an activation has no residual. in: [pixels, layer.in_stride], residual: [pixels, layer.out] or
    /// null, out: [pixels, layer.out].
    void (*pointwise)(const PointwiseLayer& layer, const float* in, int pixels, const float* residual, float* out);

    /// rows: the layer.kernel input rows [width_in, channels] that one output row [width_out, channels] sees, null
    /// where they are outside. Adds the output's pixels to sums [channels], where it isn't null.
    void (*depthwise_row)(const DepthwiseLayer& layer, const float* const* rows, int width_in, int width_out,
                          float* sums, float* out);

    /// in: the first of three rows, in_stride apart, padded by one column on the left and two on the right.
    void (*stem_row)(const StemLayer& layer, const float* in, int in_stride, int width_out, float* out);

    /// data [pixels, channels] times factors [channels], in place.
    void (*scale)(float* data, int pixels, int channels, const float* factors);
};

/// All that this machine can run, the fastest first.
std::span<const Kernels* const> usable_kernels();
/// The fastest of the precision; throws std::runtime_error where there are none.
const Kernels& kernels_of_this_machine(Precision precision);

/// The upper half of the nearest float that needs no more, ties to even; no NaN.
std::uint16_t to_bfloat16(float value);

}  // namespace chorus
