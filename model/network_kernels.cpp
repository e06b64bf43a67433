// Compiled several times: CHORUS_KERNELS names the namespace, the compiler's flags the instruction set. Everything else
// has internal linkage and no function of the standard library is called, so that no code for one instruction set can
// be linked in place of another's. Vectors are the compiler's own: on a machine without 256-bit registers it takes two.

#include "model/network_kernels.h"

namespace chorus::CHORUS_KERNELS {
namespace {

using Vector = float __attribute__((vector_size(32)));
using UnalignedVector = float __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int kLanes = kChannelBlock;
static_assert(sizeof(Vector) == kLanes * sizeof(float));

#define CHORUS_INLINE inline __attribute__((always_inline))

CHORUS_INLINE Vector load(const float* from) {
    return *reinterpret_cast<const UnalignedVector*>(from);
}

CHORUS_INLINE void store(float* to, Vector value) {
    *reinterpret_cast<UnalignedVector*>(to) = value;
}

CHORUS_INLINE Vector all(float value) {
    return value - Vector{};
}

CHORUS_INLINE Vector at_least_zero(Vector x) {
    return x > 0.0F ? x : Vector{};
}

CHORUS_INLINE Vector hardsigmoid(Vector x) {  // min(max(x + 3, 0), 6) / 6
    const Vector up = at_least_zero(x + 3.0F);
    return (up < 6.0F ? up : all(6.0F)) * (1.0F / 6.0F);
}

CHORUS_INLINE Vector activate(Vector x, Activation activation) {
    switch (activation) {
        case Activation::kRelu:
            return at_least_zero(x);
        case Activation::kHardswish:
            return x * hardsigmoid(x);
        case Activation::kHardsigmoid:
            return hardsigmoid(x);
        case Activation::kNone:
            break;
    }
    return x;
}

// Of a deep 1x1 convolution so many input channels at a time: a panel's part then stays in the first-level cache.
constexpr int kDepth = 256;

/// Where one panel's part of `depth` input channels is multiplied, and what is done before and after.
struct PanelPart {
    const float* in;
    int in_stride;
    int depth;
    const float* weights;
    const float* bias;  // null: goes on from what `out` holds
    bool last;          // applies activation and residual
    Activation activation;
    const float* residual;
    float* out;
    int out_stride;
};

// Not inlined, else the compiler keeps the activations' constants in registers that the sums need.
template <int kPixels, int kVectors>
__attribute__((noinline)) void multiply_tile(const PanelPart& part, int pixel) {
    const float* const in = part.in + static_cast<long>(pixel) * part.in_stride;
    float* const out = part.out + static_cast<long>(pixel) * part.out_stride;
    Vector sums[kPixels][kVectors];
    for (int p = 0; p < kPixels; ++p) {
        for (int v = 0; v < kVectors; ++v) {
            sums[p][v] = load(part.bias != nullptr ? part.bias + v * kLanes : out + p * part.out_stride + v * kLanes);
        }
    }
    const float* weights = part.weights;
    for (int k = 0; k < part.depth; ++k) {
        Vector row[kVectors];
        for (int v = 0; v < kVectors; ++v) row[v] = load(weights + v * kLanes);
        weights += kVectors * kLanes;
        for (int p = 0; p < kPixels; ++p) {
            const Vector value = all(in[p * part.in_stride + k]);
            for (int v = 0; v < kVectors; ++v) sums[p][v] += value * row[v];
        }
    }
    if (part.last) {
        for (int p = 0; p < kPixels; ++p) {
            for (int v = 0; v < kVectors; ++v) sums[p][v] = activate(sums[p][v], part.activation);
        }
        if (part.residual != nullptr) {
            const float* const residual = part.residual + static_cast<long>(pixel) * part.out_stride;
            for (int p = 0; p < kPixels; ++p) {
                for (int v = 0; v < kVectors; ++v) sums[p][v] += load(residual + p * part.out_stride + v * kLanes);
            }
        }
    }
    for (int p = 0; p < kPixels; ++p) {
        for (int v = 0; v < kVectors; ++v) store(out + p * part.out_stride + v * kLanes, sums[p][v]);
    }
}

template <int kPixels, int kVectors>
void multiply_rest(const PanelPart& part, int pixel, int left) {
    if constexpr (kPixels > 0) {
        if (left == kPixels) {
            multiply_tile<kPixels, kVectors>(part, pixel);
        } else {
            multiply_rest<kPixels - 1, kVectors>(part, pixel, left);
        }
    }
}

/// Tiles of kPixels pixels, as many as the registers hold.
template <int kPixels, int kVectors>
void multiply(const PanelPart& part, int pixels) {
    int pixel = 0;
    for (; pixel + kPixels <= pixels; pixel += kPixels) multiply_tile<kPixels, kVectors>(part, pixel);
    multiply_rest<kPixels - 1, kVectors>(part, pixel, pixels - pixel);
}

void pointwise(const PointwiseLayer& layer, const float* in, int pixels, const float* residual, float* out) {
    const float* panel = layer.weights;
    for (int column = 0; column < layer.out;) {
        const int columns = panel_columns(layer.out - column);
        for (int k = 0; k < layer.in; k += kDepth) {
            const int depth = layer.in - k < kDepth ? layer.in - k : kDepth;
            const PanelPart part{.in = in + k,
                                 .in_stride = layer.in,
                                 .depth = depth,
                                 .weights = panel + static_cast<long>(k) * columns,
                                 .bias = k == 0 ? layer.bias + column : nullptr,
                                 .last = k + depth == layer.in,
                                 .activation = layer.activation,
                                 .residual = residual != nullptr ? residual + column : nullptr,
                                 .out = out + column,
                                 .out_stride = layer.out};
            if (columns == 24) {
                multiply<4, 3>(part, pixels);
            } else if (columns == 16) {
                multiply<6, 2>(part, pixels);
            } else {
                multiply<8, 1>(part, pixels);
            }
        }
        panel += static_cast<long>(layer.in) * columns;
        column += columns;
    }
}

/// One block of channels of a row.
struct DepthwiseRow {
    const float* const* rows;
    int first_row;  // of the kernel, inside the input
    int end_row;
    int channels;
    int width_in;
    const float* weights;  // of the block
    Vector bias;
    float* out;
};

/// kPixels outputs from `x` on whose kernels are inside the row.
template <int kKernel, int kStride, Activation kActivation, int kPixels>
CHORUS_INLINE Vector depthwise_tile(const DepthwiseRow& row, int x) {
    Vector sums[kPixels];
    for (auto& sum : sums) sum = row.bias;
    for (int ky = row.first_row; ky < row.end_row; ++ky) {
        const float* const in = row.rows[ky] + static_cast<long>(x * kStride - kKernel / 2) * row.channels;
        Vector weights[kKernel];
        for (int kx = 0; kx < kKernel; ++kx) weights[kx] = load(row.weights + (ky * kKernel + kx) * kLanes);
#pragma GCC unroll 32
        for (int i = 0; i < (kPixels - 1) * kStride + kKernel; ++i) {
            const Vector value = load(in + static_cast<long>(i) * row.channels);
#pragma GCC unroll 8
            for (int p = 0; p < kPixels; ++p) {
                const int kx = i - p * kStride;
                if (kx >= 0 && kx < kKernel) sums[p] += value * weights[kx];
            }
        }
    }
    Vector total{};
    for (int p = 0; p < kPixels; ++p) {
        const Vector value = activate(sums[p], kActivation);
        total += value;
        store(row.out + static_cast<long>(x + p) * row.channels, value);
    }
    return total;
}

/// One output whose kernel reaches over an edge.
template <int kKernel, int kStride, Activation kActivation>
Vector depthwise_edge(const DepthwiseRow& row, int x) {
    const int left = x * kStride - kKernel / 2;
    Vector sum = row.bias;
    for (int ky = row.first_row; ky < row.end_row; ++ky) {
        for (int kx = left < 0 ? -left : 0; kx < kKernel && left + kx < row.width_in; ++kx) {
            sum += load(row.rows[ky] + static_cast<long>(left + kx) * row.channels) *
                   load(row.weights + (ky * kKernel + kx) * kLanes);
        }
    }
    const Vector value = activate(sum, kActivation);
    store(row.out + static_cast<long>(x) * row.channels, value);
    return value;
}

template <int kKernel, int kStride, Activation kActivation>
void depthwise(const DepthwiseLayer& layer, const float* const* rows, int width_in, int width_out, float* sums,
               float* out) {
    constexpr int kPad = kKernel / 2;
    constexpr int kFirstInside = (kPad + kStride - 1) / kStride;
    const int inside = width_in >= kKernel ? (width_in - kKernel + kPad) / kStride + 1 : 0;  // end of the interior
    int first_row = 0;
    int end_row = kKernel;
    while (first_row < kKernel && rows[first_row] == nullptr) ++first_row;
    while (end_row > first_row && rows[end_row - 1] == nullptr) --end_row;

    for (int channel = 0; channel < layer.channels; channel += kLanes) {
        const float* block_rows[kKernel];
        for (int ky = first_row; ky < end_row; ++ky) block_rows[ky] = rows[ky] + channel;
        const DepthwiseRow row{.rows = block_rows,
                               .first_row = first_row,
                               .end_row = end_row,
                               .channels = layer.channels,
                               .width_in = width_in,
                               .weights = layer.weights + channel * kKernel * kKernel,
                               .bias = load(layer.bias + channel),
                               .out = out + channel};
        Vector total{};
        int x = 0;
        for (; x < kFirstInside && x < width_out; ++x) total += depthwise_edge<kKernel, kStride, kActivation>(row, x);
        for (; x + 8 <= inside; x += 8) total += depthwise_tile<kKernel, kStride, kActivation, 8>(row, x);
        for (; x + 4 <= inside; x += 4) total += depthwise_tile<kKernel, kStride, kActivation, 4>(row, x);
        for (; x < inside; ++x) total += depthwise_tile<kKernel, kStride, kActivation, 1>(row, x);
        for (; x < width_out; ++x) total += depthwise_edge<kKernel, kStride, kActivation>(row, x);
        if (sums != nullptr) store(sums + channel, load(sums + channel) + total);
    }
}

template <int kKernel, int kStride>
void depthwise_of_activation(const DepthwiseLayer& layer, const float* const* rows, int width_in, int width_out,
                             float* sums, float* out) {
    if (layer.activation == Activation::kRelu) {
        depthwise<kKernel, kStride, Activation::kRelu>(layer, rows, width_in, width_out, sums, out);
    } else {
        depthwise<kKernel, kStride, Activation::kHardswish>(layer, rows, width_in, width_out, sums, out);
    }
}

void depthwise_row(const DepthwiseLayer& layer, const float* const* rows, int width_in, int width_out, float* sums,
                   float* out) {
    if (layer.kernel == 3 && layer.stride == 1) {
        depthwise_of_activation<3, 1>(layer, rows, width_in, width_out, sums, out);
    } else if (layer.kernel == 3) {
        depthwise_of_activation<3, 2>(layer, rows, width_in, width_out, sums, out);
    } else if (layer.stride == 1) {
        depthwise_of_activation<5, 1>(layer, rows, width_in, width_out, sums, out);
    } else {
        depthwise_of_activation<5, 2>(layer, rows, width_in, width_out, sums, out);
    }
}

void stem_row(const StemLayer& layer, const float* in, int in_stride, int width_out, float* out) {
    constexpr int kPixels = 8;
    for (int channel = 0; channel < layer.channels; channel += kLanes) {
        const Vector bias = load(layer.bias + channel);
        for (int first = 0; first < width_out; first += kPixels) {
            // The last tile begins so early that it ends with the row; a narrower row is one tile of fewer pixels.
            const int x = width_out >= kPixels && first + kPixels > width_out ? width_out - kPixels : first;
            const int count = width_out - x < kPixels ? width_out - x : kPixels;
            Vector sums[kPixels];
            for (auto& sum : sums) sum = bias;
            for (int tap = 0; tap < 9; ++tap) {
                const Vector weights = load(layer.weights + tap * layer.channels + channel);
                const float* const row = in + tap / 3 * in_stride + 2 * x + tap % 3;
                if (count == kPixels) {
#pragma GCC unroll 8
                    for (int p = 0; p < kPixels; ++p) sums[p] += all(row[2 * p]) * weights;
                } else {
                    for (int p = 0; p < count; ++p) sums[p] += all(row[2 * p]) * weights;
                }
            }
            for (int p = 0; p < count; ++p) {
                store(out + static_cast<long>(x + p) * layer.channels + channel,
                      activate(sums[p], Activation::kHardswish));
            }
        }
    }
}

void scale(float* data, int pixels, int channels, const float* factors) {
    for (int p = 0; p < pixels; ++p) {
        float* const pixel = data + static_cast<long>(p) * channels;
        for (int c = 0; c < channels; c += kLanes) store(pixel + c, load(pixel + c) * load(factors + c));
    }
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels{.instructions = CHORUS_INSTRUCTIONS,
                      .pointwise = pointwise,
                      .depthwise_row = depthwise_row,
                      .stem_row = stem_row,
                      .scale = scale};

}  // namespace chorus::CHORUS_KERNELS
