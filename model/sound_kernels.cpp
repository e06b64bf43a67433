// Compiled several times, as network_kernels.cpp is.

#include "model/sound_kernels.h"

#include "model/vectors.h"

namespace chorus::CHORUS_KERNELS {
namespace {

static_assert(kFramesAtOnce == kLanes);

constexpr float kLargest = 3.40282347e38F;

/// Always by the same tree.
CHORUS_INLINE float sum_of_lanes(Vector x) {
    x += __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
    return x[0] + x[4];
}

/// kOutputs outputs, each a dot product of its own: sums that don't wait for one another.
template <int kOutputs>
CHORUS_INLINE void filter(const float* const* in, const float* const* weights, int taps, float* out) {
    Vector sums[kOutputs];
#pragma GCC unroll 8
    for (int i = 0; i < kOutputs; ++i) sums[i] = Vector{};
    for (int k = 0; k < taps; k += kLanes) {
#pragma GCC unroll 8
        for (int i = 0; i < kOutputs; ++i) sums[i] += load(in[i] + k) * load(weights[i] + k);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kOutputs; ++i) out[i] = sum_of_lanes(sums[i]);
}

/// As filter(), where all outputs have the same weights.
template <int kOutputs>
CHORUS_INLINE void filter_of_one_phase(const float* in, int advance, const float* weights, int taps, float* out) {
    Vector sums[kOutputs];
#pragma GCC unroll 8
    for (int i = 0; i < kOutputs; ++i) sums[i] = Vector{};
    for (int k = 0; k < taps; k += kLanes) {
        const Vector weight = load(weights + k);
#pragma GCC unroll 8
        for (int i = 0; i < kOutputs; ++i) sums[i] += load(in + k + i * advance) * weight;
    }
#pragma GCC unroll 8
    for (int i = 0; i < kOutputs; ++i) out[i] = sum_of_lanes(sums[i]);
}

void resample(const PolyphaseFilter& by, const float* in, int phase, int count, float* out) {
    int done = 0;
    if (by.phases == 1) {
        for (; done + 8 <= count; done += 8) {
            filter_of_one_phase<8>(in, by.advance, by.weights, by.taps, out + done);
            in += 8 * by.advance;
        }
    }
    const auto next = [&](const float*& at, const float*& weights) {
        at = in;
        weights = by.weights + static_cast<long>(phase) * by.taps;
        in += by.advance;
        phase += by.phase_advance;
        if (phase >= by.phases) {
            phase -= by.phases;
            ++in;
        }
    };
    const float* at[4];
    const float* weights[4];
    for (; done + 4 <= count; done += 4) {
        for (int i = 0; i < 4; ++i) next(at[i], weights[i]);
        filter<4>(at, weights, by.taps, out + done);
    }
    for (; done < count; ++done) {
        next(at[0], weights[0]);
        filter<1>(at, weights, by.taps, out + done);
    }
}

/// rows[i][j] becomes rows[j][i].
CHORUS_INLINE void transpose(Vector (&rows)[8]) {
    Vector pairs[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    Vector fours[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 8
        for (int half = 0; half < 2; ++half) {
            const Vector a = pairs[i + half];
            const Vector b = pairs[i + 2 + half];
            fours[i + 2 * half] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
            fours[i + 2 * half + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i) {
        rows[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        rows[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

struct Complex {
    Vector re;
    Vector im;
};

CHORUS_INLINE Complex load_complex(const float* from) {
    return {load(from), load(from + kLanes)};
}

CHORUS_INLINE void store_complex(float* to, Complex value) {
    store(to, value.re);
    store(to + kLanes, value.im);
}

CHORUS_INLINE Complex operator+(Complex a, Complex b) {
    return {a.re + b.re, a.im + b.im};
}

CHORUS_INLINE Complex operator-(Complex a, Complex b) {
    return {a.re - b.re, a.im - b.im};
}

CHORUS_INLINE Complex turned(Complex a, const float* twiddle) {
    const Vector c = all(twiddle[0]);
    const Vector s = all(twiddle[1]);
    return {a.re * c - a.im * s, a.re * s + a.im * c};
}

CHORUS_INLINE Complex times_minus_i(Complex a) {
    return {a.im, -a.re};
}

/// Values of kLanes transforms side by side.
constexpr long kComplex = 2 * kLanes;

/// Four points, `quarter` apart, of a transform by four: outputs 4k, 4k + 1, 4k + 2 and 4k + 3 go on separately.
template <bool kTurn>
CHORUS_INLINE void butterfly(float* at, long quarter, const float* twiddles, int step) {
    const Complex a = load_complex(at);
    const Complex b = load_complex(at + quarter);
    const Complex c = load_complex(at + 2 * quarter);
    const Complex d = load_complex(at + 3 * quarter);
    const Complex even = a + c;
    const Complex odd = a - c;
    const Complex even_rest = b + d;
    const Complex odd_rest = times_minus_i(b - d);
    store_complex(at, even + even_rest);
    if constexpr (kTurn) {
        store_complex(at + quarter, turned(odd + odd_rest, twiddles + 2 * step));
        store_complex(at + 2 * quarter, turned(even - even_rest, twiddles + 4 * step));
        store_complex(at + 3 * quarter, turned(odd - odd_rest, twiddles + 6 * step));
    } else {
        store_complex(at + quarter, odd + odd_rest);
        store_complex(at + 2 * quarter, even - even_rest);
        store_complex(at + 3 * quarter, odd - odd_rest);
    }
}

/// `points` complex values, in place; the twiddles are those of twice as many. Outputs are left in the order of the
/// digits of their number read backwards.
void fourier(float* values, int points, const float* twiddles) {
    int length = points;
    for (; length >= 4; length /= 4) {
        const int quarter = length / 4;
        const int step = 2 * (points / length);
        for (int first = 0; first < points; first += length) {
            float* const block = values + first * kComplex;
            butterfly<false>(block, quarter * kComplex, twiddles, 0);
            for (int i = 1; i < quarter; ++i) {
                butterfly<true>(block + i * kComplex, quarter * kComplex, twiddles, i * step);
            }
        }
    }
    if (length == 2) {
        for (int i = 0; i < points; i += 2) {
            float* const at = values + i * kComplex;
            const Complex a = load_complex(at);
            const Complex b = load_complex(at + kComplex);
            store_complex(at, a + b);
            store_complex(at + kComplex, a - b);
        }
    }
}

CHORUS_INLINE Vector square(Complex a) {
    return a.re * a.re + a.im * a.im;
}

/// The powers of the bins of 2 * points real samples, out of the transform of their even samples as real and their odd
/// ones as imaginary parts, which are half as large here as they were.
void powers(const float* values, int points, const float* twiddles, const int* order, float* power) {
    const auto value = [&](int bin) { return load_complex(values + order[bin] * kComplex); };
    const auto put = [&](int bin, Complex half) { store(power + static_cast<long>(bin) * kLanes, square(half)); };
    const Complex first = value(0);
    put(0, {2.0F * (first.re + first.im), Vector{}});
    put(points, {2.0F * (first.re - first.im), Vector{}});
    for (int bin = 1; bin <= points / 2; ++bin) {
        const Complex a = value(bin);
        const Complex mirrored = value(points - bin);
        const Complex b{mirrored.re, -mirrored.im};
        const Complex even = a + b;
        const Complex odd = turned(times_minus_i(a - b), twiddles + 2 * bin);
        put(bin, even + odd);
        put(points - bin, even - odd);
    }
}

/// 10 log10(x) of positive, normal numbers: the logarithm as in FreeBSD's msun, good to one unit in the last place.
CHORUS_INLINE Vector decibels(Vector x) {
    constexpr int kRootOfHalf = 0x3f3504f3;
    constexpr int kOne = 0x3f800000;
    constexpr float kDecibelsPerNeper = 4.342944819F;  // 10 / ln 10
    const IntVector bits = reinterpret_cast<IntVector>(x) + (kOne - kRootOfHalf);
    const Vector exponent = __builtin_convertvector((bits >> 23) - 127, Vector);
    const Vector f = reinterpret_cast<Vector>((bits & 0x007fffff) + kRootOfHalf) - 1.0F;
    const Vector s = f / (2.0F + f);
    const Vector z = s * s;
    const Vector w = z * z;
    const Vector odd = w * (0.40000972152F + w * 0.24279078841F);
    const Vector even = z * (0.66666662693F + w * 0.28498786688F);
    const Vector half_square = 0.5F * f * f;
    const Vector low = s * (half_square + (even + odd)) + exponent * 9.0580006145e-6F;
    return kDecibelsPerNeper * (low - half_square + f + exponent * 6.9313812256e-1F);
}

void mel_columns(const MelTransform& transform, const float* const* frames, int count, float* const* columns,
                 float* scratch) {
    float* const values = scratch;
    float* const power = scratch + kLanes * transform.n_fft;
    for (int n = 0; n < transform.n_fft; n += kLanes) {
        const Vector window = load(transform.window + n);
        Vector samples[8];
#pragma GCC unroll 8
        for (int i = 0; i < kFramesAtOnce; ++i) samples[i] = load(frames[i] + n) * window;
        transpose(samples);
#pragma GCC unroll 8
        for (int i = 0; i < kLanes; ++i) store(values + (n + i) * kLanes, samples[i]);
    }
    const int points = transform.n_fft / 2;
    fourier(values, points, transform.twiddles);
    powers(values, points, transform.twiddles, transform.order, power);

    for (int mel = 0; mel < transform.mels; mel += kLanes) {
        const int rows = transform.mels - mel < kLanes ? transform.mels - mel : kLanes;
        Vector block[8]{};
        for (int row = 0; row < rows; ++row) {
            const MelFilter& filter = transform.filters[mel + row];
            const float* in = power + static_cast<long>(filter.first_bin) * kLanes;
            Vector sum{};
            for (int i = 0; i < filter.bins; ++i, in += kLanes) sum += load(in) * all(filter.weights[i]);
            // Written so that a NaN becomes the floor: one bad sample must not reach the scores of every class.
            const Vector bounded = sum < kLargest ? sum : all(kLargest);
            block[row] = decibels(sum > transform.floor ? bounded : all(transform.floor));
        }
        transpose(block);
        for (int frame = 0; frame < count; ++frame) {
            float* const out = columns[frame] + mel;
            if (rows == kLanes) {
                store(out, block[frame]);
            } else {
                for (int row = 0; row < rows; ++row) out[row] = block[frame][row];
            }
        }
    }
}

void normalise(const float* const* columns, int frames, int mels, float lowest, float range, float* features) {
    int frame = 0;
    for (; frame + kLanes <= frames; frame += kLanes) {
        int mel = 0;
        for (; mel + kLanes <= mels; mel += kLanes) {
            Vector block[8];
#pragma GCC unroll 8
            for (int i = 0; i < kLanes; ++i) block[i] = load(columns[frame + i] + mel);
            transpose(block);
            float* const out = features + static_cast<long>(mel) * frames + frame;
#pragma GCC unroll 8
            for (int i = 0; i < kLanes; ++i) store(out + static_cast<long>(i) * frames, (block[i] - lowest) / range);
        }
        for (; mel < mels; ++mel) {
            for (int i = frame; i < frame + kLanes; ++i) {
                features[static_cast<long>(mel) * frames + i] = (columns[i][mel] - lowest) / range;
            }
        }
    }
    for (; frame < frames; ++frame) {
        for (int mel = 0; mel < mels; ++mel) {
            features[static_cast<long>(mel) * frames + frame] = (columns[frame][mel] - lowest) / range;
        }
    }
}

}  // namespace

extern const SoundKernels sound_kernels;
const SoundKernels sound_kernels{
    .instructions = CHORUS_INSTRUCTIONS, .resample = resample, .mel_columns = mel_columns, .normalise = normalise};

}  // namespace chorus::CHORUS_KERNELS
