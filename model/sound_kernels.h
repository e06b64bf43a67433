#pragma once
// The loops in which the front-end spends its time, compiled once for each instruction set worth it. Internal to
// model/. A value comes to the same bits whatever is computed beside it.

#include <span>

namespace chorus {

/// The filters of a change of sample rate by a ratio of whole numbers, one for each place that an output sample can
/// have between two input samples.
struct PolyphaseFilter {
    int phases;            // of the output rate over the greatest common divisor of both
    int advance;           // whole input samples from one output to the next
    int phase_advance;     // and phases: below `phases`
    int taps;              // of each phase, a multiple of 8
    const float* weights;  // [phases, taps]
};

/// So many frames go through the transform together, each in its own lane of the vectors.
inline constexpr int kFramesAtOnce = 8;

/// The triangle of one mel over the bins where it is above zero.
struct MelFilter {
    int first_bin;
    int bins;
    const float* weights;  // [bins]
};

struct MelTransform {
    int n_fft;  // a power of two from 32 on
    int mels;
    float floor;               // of the power, before it becomes dB
    const float* window;       // [n_fft], half the window function
    const float* twiddles;     // [n_fft] cosine and minus sine of 2 pi k / n_fft
    const int* order;          // [n_fft / 2] where the transform of half the length leaves each output
    const MelFilter* filters;  // [mels]

    /// Floats of scratch memory, which begin with a cache line.
    int scratch_size() const { return kFramesAtOnce * (n_fft + n_fft / 2 + 1); }
};

struct SoundKernels {
    const char* instructions;

    /// count outputs: the first sees the `taps` inputs from `in` on with phase `phase`.
    void (*resample)(const PolyphaseFilter& filter, const float* in, int phase, int count, float* out);

    /// frames: kFramesAtOnce times n_fft samples -> `count` columns of mels values in dB.
    void (*mel_columns)(const MelTransform& transform, const float* const* frames, int count, float* const* columns,
                        float* scratch);

    /// columns: `frames` times mels values; features [mels, frames] = (value - lowest) / range.
    void (*normalise)(const float* const* columns, int frames, int mels, float lowest, float range, float* features);
};

/// All that this machine can run, the fastest first.
std::span<const SoundKernels* const> usable_sound_kernels();
const SoundKernels& sound_kernels_of_this_machine();

}  // namespace chorus
