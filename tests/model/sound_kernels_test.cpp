#include "model/sound_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <string>
#include <vector>

#include "model/aligned_floats.h"
#include "tests/model/test_sounds.h"

namespace chorus {
namespace {

/// Every instruction set that this machine runs, against plain loops in double precision.
class SoundKernelsTest : public testing::TestWithParam<const SoundKernels*> {};

std::size_t at(int index) {
    return static_cast<std::size_t>(index);
}

TEST_P(SoundKernelsTest, FiltersOfAnyRatio) {
    struct Case {
        int phases, advance, phase_advance, taps;
    };
    for (const auto& [phases, advance, phase_advance, taps] :
         {Case{1, 3, 0, 120}, Case{1, 24, 0, 8}, Case{160, 2, 121, 16}, Case{3, 1, 1, 24}, Case{2, 0, 1, 40}}) {
        const auto weights = hiss(at(phases * taps));
        const PolyphaseFilter filter{.phases = phases,
                                     .advance = advance,
                                     .phase_advance = phase_advance,
                                     .taps = taps,
                                     .weights = weights.data()};
        for (const int count : {1, 3, 4, 8, 21}) {
            const auto in = hiss(at((count + 1) * (advance + 1) + taps));
            std::vector<float> out(at(count) + 1, 7.0F);
            const int first_phase = phases - 1;
            GetParam()->resample(filter, in.data(), first_phase, count, out.data());
            EXPECT_EQ(out.back(), 7.0F) << "beyond its output";
            for (int i = 0; i < count; ++i) {
                const int place = first_phase + i * (advance * phases + phase_advance);
                double expected = 0;
                for (int k = 0; k < taps; ++k)
                    expected += double{in[at(place / phases + k)]} * weights[at(place % phases * taps + k)];
                ASSERT_NEAR(out[at(i)], expected, 1e-5) << "output " << i << " of " << count;
            }
        }
    }
}

TEST_P(SoundKernelsTest, AnOutputIsTheSameBitsHoweverManyComeWithIt) {
    const auto weights = hiss(3 * 24);
    const auto in = hiss(200);
    for (const int phases : {1, 3}) {
        const PolyphaseFilter filter{
            .phases = phases, .advance = 2, .phase_advance = phases / 2, .taps = 24, .weights = weights.data()};
        std::vector<float> together(29);
        GetParam()->resample(filter, in.data(), 0, 29, together.data());
        for (int i = 0; i < 29; ++i) {
            const int place = i * (2 * phases + filter.phase_advance);
            float alone = 0;
            GetParam()->resample(filter, in.data() + place / phases, place % phases, 1, &alone);
            ASSERT_EQ(alone, together[at(i)]) << i;
        }
    }
}

/// The tables of a transform whose mels are each one bin or two.
struct Transform {
    std::vector<float> window, twiddles, weights{0.75F, 0.25F};
    std::vector<int> order;
    std::vector<MelFilter> filters;
    MelTransform tables;

    Transform(int n_fft, int mels) {
        for (int n = 0; n < n_fft; ++n) {
            const double angle = 2 * std::numbers::pi * n / n_fft;
            window.push_back(0.5F);  // the transform wants it halved
            twiddles.push_back(static_cast<float>(std::cos(angle)));
            twiddles.push_back(static_cast<float>(-std::sin(angle)));
        }
        for (int output = 0; output < n_fft / 2; ++output) {
            int place = 0;
            int digits = output;
            int length = n_fft / 2;
            for (; length >= 4; length /= 4, digits /= 4) place += digits % 4 * (length / 4);
            order.push_back(place + digits);
        }
        for (int mel = 0; mel < mels; ++mel) {
            const int first = mel * (n_fft / 2) / mels;
            filters.push_back({.first_bin = first, .bins = 1 + mel % 2, .weights = weights.data()});
        }
        tables = {.n_fft = n_fft,
                  .mels = mels,
                  .floor = 1e-10F,
                  .window = window.data(),
                  .twiddles = twiddles.data(),
                  .order = order.data(),
                  .filters = filters.data()};
    }
};

TEST_P(SoundKernelsTest, MelColumnsAreTheFourierTransforms) {
    for (const int n_fft : {32, 64, 128, 512, 1024}) {
        for (const int mels : {1, 8, 13, 32}) {
            const Transform transform(n_fft, mels);
            const auto sound = hiss(at(n_fft + 100));
            for (const int count : {1, 8}) {
                const float* frames[kFramesAtOnce];
                std::vector<std::vector<float>> columns(kFramesAtOnce, std::vector<float>(at(mels) + 1, 7.0F));
                float* out[kFramesAtOnce];
                for (int i = 0; i < kFramesAtOnce; ++i) {
                    frames[i] = sound.data() + (i < count ? 11 * i : 0);
                    out[i] = columns[at(i)].data();
                }
                const AlignedFloats scratch(at(transform.tables.scratch_size()));
                GetParam()->mel_columns(transform.tables, frames, count, out, scratch.data());
                for (int i = 0; i < count; ++i) {
                    EXPECT_EQ(columns[at(i)].back(), 7.0F) << "beyond its column";
                    for (int mel = 0; mel < mels; ++mel) {
                        const auto& filter = transform.filters[at(mel)];
                        double power = 0;
                        for (int bin = 0; bin < filter.bins; ++bin) {
                            std::complex<double> value = 0;
                            for (int n = 0; n < n_fft; ++n) {
                                const double turn = static_cast<double>((filter.first_bin + bin) * n % n_fft) / n_fft;
                                value += double{frames[i][n]} * std::polar(1.0, -2 * std::numbers::pi * turn);
                            }
                            power += std::norm(value) * filter.weights[bin];
                        }
                        ASSERT_NEAR(columns[at(i)][at(mel)], 10 * std::log10(std::max(power, 1e-10)), 2e-3)
                            << n_fft << " samples, mel " << mel << " of " << mels << ", frame " << i;
                    }
                }
                for (int i = count; i < kFramesAtOnce; ++i)
                    EXPECT_EQ(columns[at(i)][0], 7.0F) << "a frame not asked for";
            }
        }
    }
}

TEST_P(SoundKernelsTest, NormaliseTurnsColumnsIntoRows) {
    for (const int frames : {1, 8, 21}) {
        for (const int mels : {1, 8, 13}) {
            const auto values = hiss(at(frames * mels));
            std::vector<const float*> columns;
            for (int frame = 0; frame < frames; ++frame) columns.push_back(values.data() + frame * mels);
            std::vector<float> features(values.size());
            GetParam()->normalise(columns.data(), frames, mels, 0.25F, 3.0F, features.data());
            for (int frame = 0; frame < frames; ++frame) {
                for (int mel = 0; mel < mels; ++mel) {
                    ASSERT_EQ(features[at(mel * frames + frame)], (values[at(frame * mels + mel)] - 0.25F) / 3.0F);
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, SoundKernelsTest, testing::ValuesIn(usable_sound_kernels()),
                         [](const auto& tested) { return std::string(tested.param->instructions).substr(0, 4); });

}  // namespace
}  // namespace chorus
