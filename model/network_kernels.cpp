// Compiled several times: CHORUS_KERNELS names the namespace, the compiler's flags the instruction set.

#include "model/network_kernels.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "model/vectors.h"

namespace chorus::CHORUS_KERNELS {
namespace {

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
constexpr int kDepth = 2048 / kLanes;

/// Pixels of a tile of so many vectors: as many as the registers hold, 16 of 256 bits or 32 of 512.
constexpr int tile_pixels(int vectors) {
    if (kLanes == 16) return vectors == 3 ? 8 : vectors == 2 ? 12 : 16;
    return vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
}

#ifdef __AVX512BF16__
// Weights and inputs of 1x1 convolutions are rounded to bfloat16, two of consecutive channels in the place of a float;
// the sums of their products are float32.
constexpr int kTogether = 2;

CHORUS_INLINE Vector add_products(Vector sum, Vector a, Vector b) {
    return reinterpret_cast<Vector>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
}

// By its bits: as a number, a pair could be one that arithmetic changes.
CHORUS_INLINE Vector in_all_lanes(float pair) {
    return reinterpret_cast<Vector>(_mm512_set1_ps(pair));
}

/// A tile's inputs as the products take them.
template <int kPixels>
class TileInput {
  public:
    TileInput(const float* in, long stride, int depth) {
        for (int p = 0; p < kPixels; ++p) {
            for (int i = 0; i < depth; i += kLanes) {
                const auto rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(load(in + p * stride + i)));
                __builtin_memcpy(values_ + (p * kDepth + i) / kTogether, &rounded, sizeof rounded);
            }
        }
    }
    const float* data() const { return values_; }
    static constexpr long stride() { return kDepth / kTogether; }

  private:
    alignas(64) float values_[kPixels * kDepth / kTogether];
};
#else
constexpr int kTogether = 1;

CHORUS_INLINE Vector add_products(Vector sum, Vector a, Vector b) {
    return sum + a * b;
}

CHORUS_INLINE Vector in_all_lanes(float value) {
    return all(value);
}

template <int kPixels>
class TileInput {
  public:
    CHORUS_INLINE TileInput(const float* in, long stride, int) : in_(in), stride_(stride) {}
    CHORUS_INLINE const float* data() const { return in_; }
    CHORUS_INLINE long stride() const { return stride_; }

  private:
    const float* in_;
    long stride_;
};
#endif

/// What is done with a tile's sums of products.
enum class Finish { kStore, kAddResidual, kRelu, kHardswish, kHardsigmoid };

Finish finish_of(const PointwiseLayer& layer, bool last_part, bool with_residual) {
    if (!last_part) return Finish::kStore;
    switch (layer.activation) {
        case Activation::kRelu:
            return Finish::kRelu;
        case Activation::kHardswish:
            return Finish::kHardswish;
        case Activation::kHardsigmoid:
            return Finish::kHardsigmoid;
        case Activation::kNone:
            break;
    }
    return with_residual ? Finish::kAddResidual : Finish::kStore;
}

template <Finish kFinish>
CHORUS_INLINE Vector finish(Vector sum, const float* residual, int lanes) {
    if constexpr (kFinish == Finish::kAddResidual) return sum + load(residual + lanes);
    if constexpr (kFinish == Finish::kRelu) return at_least_zero(sum);
    if constexpr (kFinish == Finish::kHardswish) return sum * hardsigmoid(sum);
    if constexpr (kFinish == Finish::kHardsigmoid) return hardsigmoid(sum);
    return sum;
}

/// One panel's part of some input channels.
struct PanelPart {
    const float* in;
    long in_stride;
    const float* weights;
    const float* weights_end;
    int depth;
    const float* base;  // what the products are added to: the bias, or what the part before left in `out`
    long base_stride;
    const float* residual;
    float* out;
    long out_stride;
};

// Loops over a tile are unrolled by order: only then does the compiler keep the tile's sums in registers from end to
// end.

/// A tile of kPixels pixels from `pixel` on. Neither inlined nor with a choice after its loop: else the compiler takes
/// registers from the sums, which need them all.
template <Finish kFinish, int kPixels, int kVectors>
__attribute__((noinline)) void multiply_tile(const PanelPart& part, long pixel) {
    const TileInput<kPixels> input(part.in + pixel * part.in_stride, part.in_stride, part.depth);
    const float* in = input.data();
    const long in_stride = input.stride();
    Vector sums[kPixels][kVectors];
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) sums[p][v] = Vector{};
    }
    for (const float* weights = part.weights; weights != part.weights_end; weights += kVectors * kLanes, ++in) {
        Vector row[kVectors];
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) row[v] = load(weights + v * kLanes);
#pragma GCC unroll 32
        for (int p = 0; p < kPixels; ++p) {
            const Vector value = in_all_lanes(in[p * in_stride]);
#pragma GCC unroll 32
            for (int v = 0; v < kVectors; ++v) sums[p][v] = add_products(sums[p][v], value, row[v]);
        }
    }
    const float* base = part.base + pixel * part.base_stride;
    const float* residual = kFinish == Finish::kAddResidual ? part.residual + pixel * part.out_stride : nullptr;
    float* out = part.out + pixel * part.out_stride;
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) {
            const int lanes = v * kLanes;
            store(out + lanes, finish<kFinish>(sums[p][v] + load(base + lanes), residual, lanes));
        }
        base += part.base_stride;
        out += part.out_stride;
        if constexpr (kFinish == Finish::kAddResidual) residual += part.out_stride;
    }
}

template <Finish kFinish, int kPixels, int kVectors>
void multiply_rest(const PanelPart& part, int pixel, int left) {
    if constexpr (kPixels > 0) {
        if (left == kPixels) {
            multiply_tile<kFinish, kPixels, kVectors>(part, pixel);
        } else {
            multiply_rest<kFinish, kPixels - 1, kVectors>(part, pixel, left);
        }
    }
}

template <Finish kFinish, int kVectors>
void multiply_tiles(const PanelPart& part, int pixels) {
    constexpr int kPixels = tile_pixels(kVectors);
    int pixel = 0;
    for (; pixel + kPixels <= pixels; pixel += kPixels) multiply_tile<kFinish, kPixels, kVectors>(part, pixel);
    multiply_rest<kFinish, kPixels - 1, kVectors>(part, pixel, pixels - pixel);
}

template <int kVectors>
void multiply(const PanelPart& part, int pixels, Finish finish) {
    switch (finish) {
        case Finish::kStore:
            return multiply_tiles<Finish::kStore, kVectors>(part, pixels);
        case Finish::kAddResidual:
            return multiply_tiles<Finish::kAddResidual, kVectors>(part, pixels);
        case Finish::kRelu:
            return multiply_tiles<Finish::kRelu, kVectors>(part, pixels);
        case Finish::kHardswish:
            return multiply_tiles<Finish::kHardswish, kVectors>(part, pixels);
        case Finish::kHardsigmoid:
            return multiply_tiles<Finish::kHardsigmoid, kVectors>(part, pixels);
    }
}

void pointwise(const PointwiseLayer& layer, const float* in, int pixels, const float* residual, float* out) {
    const float* panel = layer.weights;
    for (int column = 0; column < layer.out;) {
        const int vectors = panel_vectors((layer.out - column) / kLanes);
        const int columns = vectors * kLanes;
        for (int k = 0; k < layer.in; k += kDepth) {
            const int depth = layer.in - k < kDepth ? layer.in - k : kDepth;
            const float* const weights = panel + static_cast<long>(k / kTogether) * columns;
            const PanelPart part{
                .in = in + k,
                .in_stride = layer.in_stride,
                .weights = weights,
                .weights_end = weights + static_cast<long>((depth + kTogether - 1) / kTogether) * columns,
                .depth = depth,
                .base = k == 0 ? layer.bias + column : out + column,
                .base_stride = k == 0 ? 0 : layer.out,
                .residual = residual != nullptr ? residual + column : nullptr,
                .out = out + column,
                .out_stride = layer.out};
            const Finish finish = finish_of(layer, k + depth == layer.in, residual != nullptr);
            if (vectors == 3) {
                multiply<3>(part, pixels, finish);
            } else if (vectors == 2) {
                multiply<2>(part, pixels, finish);
            } else {
                multiply<1>(part, pixels, finish);
            }
        }
        panel += static_cast<long>((layer.in + kTogether - 1) / kTogether) * columns;
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
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) sums[p] = row.bias;
    for (int ky = row.first_row; ky < row.end_row; ++ky) {
        const float* const in = row.rows[ky] + static_cast<long>(x * kStride - kKernel / 2) * row.channels;
        Vector weights[kKernel];
#pragma GCC unroll 32
        for (int kx = 0; kx < kKernel; ++kx) weights[kx] = load(row.weights + (ky * kKernel + kx) * kLanes);
#pragma GCC unroll 32
        for (int i = 0; i < (kPixels - 1) * kStride + kKernel; ++i) {
            const Vector value = load(in + static_cast<long>(i) * row.channels);
#pragma GCC unroll 32
            for (int p = 0; p < kPixels; ++p) {
                const int kx = i - p * kStride;
                if (kx >= 0 && kx < kKernel) sums[p] += value * weights[kx];
            }
        }
    }
    Vector total{};
#pragma GCC unroll 32
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

/// kPixels outputs from `x` on, of two blocks of channels or of one: each input is then loaded once for both.
template <int kPixels, int kVectors>
CHORUS_INLINE void stem_tile(const StemLayer& layer, const float* in, int in_stride, int x, int channel, float* out) {
    Vector sums[kPixels][kVectors];
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) sums[p][v] = load(layer.bias + channel + v * kLanes);
    }
#pragma GCC unroll 32
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 32
        for (int kx = 0; kx < 3; ++kx) {
            const float* const weights = layer.weights + (3 * ky + kx) * layer.channels + channel;
            const float* const row = in + ky * in_stride + 2 * x + kx;
#pragma GCC unroll 32
            for (int p = 0; p < kPixels; ++p) {
                const Vector value = all(row[2 * p]);
#pragma GCC unroll 32
                for (int v = 0; v < kVectors; ++v) sums[p][v] += value * load(weights + v * kLanes);
            }
        }
    }
#pragma GCC unroll 32
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; ++v) {
            store(out + static_cast<long>(x + p) * layer.channels + channel + v * kLanes,
                  activate(sums[p][v], Activation::kHardswish));
        }
    }
}

template <int kVectors>
void stem_channels(const StemLayer& layer, const float* in, int in_stride, int width_out, int channel, float* out) {
    constexpr int kPixels = kLanes == 16 ? 8 : 4;
    int x = 0;
    for (; x + kPixels <= width_out; x += kPixels) stem_tile<kPixels, kVectors>(layer, in, in_stride, x, channel, out);
    for (; x < width_out; ++x) stem_tile<1, kVectors>(layer, in, in_stride, x, channel, out);
}

void stem_row(const StemLayer& layer, const float* in, int in_stride, int width_out, float* out) {
    int channel = 0;
    for (; channel + 2 * kLanes <= layer.channels; channel += 2 * kLanes) {
        stem_channels<2>(layer, in, in_stride, width_out, channel, out);
    }
    if (channel < layer.channels) stem_channels<1>(layer, in, in_stride, width_out, channel, out);
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
                      .lanes = kLanes,
                      .precision = kTogether == 2 ? Precision::kBfloat16 : Precision::kFloat32,
                      .pointwise = pointwise,
                      .depthwise_row = depthwise_row,
                      .stem_row = stem_row,
                      .scale = scale};

}  // namespace chorus::CHORUS_KERNELS
