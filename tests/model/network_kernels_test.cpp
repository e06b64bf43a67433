#include "model/network_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

namespace chorus {
namespace {

/// Every instruction set that this machine runs, against plain loops in double precision.
class NetworkKernels : public testing::TestWithParam<const Kernels*> {
  protected:
    std::vector<float> values(int count) {
        std::vector<float> made(static_cast<std::size_t>(count));
        for (auto& value : made) value = distribution_(random_);
        return made;
    }

    static double activated(double x, Activation activation) {
        const double gate = std::clamp(x + 3, 0.0, 6.0) / 6;
        switch (activation) {
            case Activation::kRelu:
                return std::max(x, 0.0);
            case Activation::kHardswish:
                return x * gate;
            case Activation::kHardsigmoid:
                return gate;
            case Activation::kNone:
                break;
        }
        return x;
    }

  private:
    std::mt19937 random_{1};
    std::uniform_real_distribution<float> distribution_{-1, 1};
};

std::size_t at(int index) {
    return static_cast<std::size_t>(index);
}

float from_bfloat16(std::uint32_t bits) {
    return std::bit_cast<float>(bits << 16);
}

float pair_of(float first, float second) {
    return std::bit_cast<float>(std::uint32_t{to_bfloat16(second)} << 16 | to_bfloat16(first));
}

TEST_P(NetworkKernels, PointwiseOfAnyShape) {
    constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kHardswish,
                                           Activation::kHardsigmoid};
    const int lanes = GetParam()->lanes;
    const bool rounds = GetParam()->precision == Precision::kBfloat16;
    int turn = 0;
    for (int out = lanes; out <= 9 * lanes; out += lanes) {
        for (const int in : {1, 8, 40, 129, 256, 263, 520}) {
            const int in_stride = (in + lanes - 1) / lanes * lanes;
            const int pixels = 1 + turn % 17;
            const auto activation = kActivations[turn % 4];
            const bool with_residual = activation == Activation::kNone && turn % 8 == 0;
            ++turn;
            auto weights = values(in * out);  // [in, out]
            const auto bias = values(out);
            auto data = values(pixels * in_stride);
            if (rounds) {
                for (auto* all : {&weights, &data}) {
                    for (auto& value : *all) value = from_bfloat16(to_bfloat16(value));
                }
            }
            for (int p = 0; p < pixels; ++p) {
                std::fill(data.begin() + p * in_stride + in, data.begin() + (p + 1) * in_stride, 0.0F);
            }
            const auto residual = values(pixels * out);
            std::vector<float> panels;
            for (int column = 0; column < out;) {
                const int columns = lanes * panel_vectors((out - column) / lanes);
                for (int i = 0; i < in; i += rounds ? 2 : 1) {
                    for (int o = column; o < column + columns; ++o) {
                        const float weight = weights[at(i * out + o)];
                        const float next = i + 1 < in ? weights[at((i + 1) * out + o)] : 0.0F;
                        panels.push_back(rounds ? pair_of(weight, next) : weight);
                    }
                }
                column += columns;
            }
            const PointwiseLayer layer{.in = in,
                                       .in_stride = in_stride,
                                       .out = out,
                                       .activation = activation,
                                       .weights = panels.data(),
                                       .bias = bias.data()};
            std::vector<float> found(at(pixels * out));
            GetParam()->pointwise(layer, data.data(), pixels, with_residual ? residual.data() : nullptr, found.data());
            for (int p = 0; p < pixels; ++p) {
                for (int o = 0; o < out; ++o) {
                    double sum = bias[at(o)];
                    for (int i = 0; i < in; ++i) sum += double{data[at(p * in_stride + i)]} * weights[at(i * out + o)];
                    const double wanted =
                        activated(sum, activation) + (with_residual ? residual[at(p * out + o)] : 0.0F);
                    ASSERT_NEAR(found[at(p * out + o)], wanted, 1e-4) << in << " -> " << out << ", " << pixels;
                }
            }
            // A pixel alone comes to the same bits as among others.
            std::vector<float> alone(at(out));
            GetParam()->pointwise(layer, data.data() + (pixels - 1) * in_stride, 1,
                                  with_residual ? residual.data() + (pixels - 1) * out : nullptr, alone.data());
            EXPECT_TRUE(std::equal(alone.begin(), alone.end(), found.end() - out));
        }
    }
}

TEST(Bfloat16, RoundsToTheNearestAndTiesToEven) {
    EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F)), 1.0F);
    EXPECT_EQ(from_bfloat16(to_bfloat16(-0.0F)), 0.0F);
    EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 1.0F / 256)), 1.0F);               // a tie, down to even
    EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 3.0F / 256)), 1.0F + 2.0F / 128);  // a tie, up to even
    EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 1.1F / 256)), 1.0F + 1.0F / 128);
    EXPECT_EQ(from_bfloat16(to_bfloat16(-3.14159265F)), -3.140625F);
}

TEST_P(NetworkKernels, DepthwiseRowsOfAnyWidth) {
    constexpr int kChannels = 32;
    const int lanes = GetParam()->lanes;
    for (const int kernel : {3, 5}) {
        for (const int stride : {1, 2}) {
            for (int width = 1; width < 30; ++width) {
                const auto activation = width % 2 == 0 ? Activation::kRelu : Activation::kHardswish;
                const int width_out = (width + stride - 1) / stride;
                const auto weights = values(kChannels * kernel * kernel);  // [block, tap, channel of the block]
                const auto bias = values(kChannels);
                std::vector<std::vector<float>> rows;
                std::vector<const float*> pointers;
                for (int k = 0; k < kernel; ++k) {
                    rows.push_back(values(width * kChannels));
                    const bool outside = (width % 3 == 0 && k == 0) || (width % 5 == 0 && k == kernel - 1);
                    pointers.push_back(outside ? nullptr : rows.back().data());
                }
                const DepthwiseLayer layer{.channels = kChannels,
                                           .kernel = kernel,
                                           .stride = stride,
                                           .activation = activation,
                                           .weights = weights.data(),
                                           .bias = bias.data()};
                std::vector<float> found(at(width_out * kChannels));
                std::vector<float> sums(kChannels, 1.0F);
                GetParam()->depthwise_row(layer, pointers.data(), width, width_out, sums.data(), found.data());
                for (int c = 0; c < kChannels; ++c) {
                    double total = 1;
                    for (int x = 0; x < width_out; ++x) {
                        double sum = bias[at(c)];
                        for (int tap = 0; tap < kernel * kernel; ++tap) {
                            const int column = x * stride - kernel / 2 + tap % kernel;
                            const float* const row = pointers[at(tap / kernel)];
                            if (row == nullptr || column < 0 || column >= width) continue;
                            sum += double{row[column * kChannels + c]} *
                                   weights[at((c / lanes * kernel * kernel + tap) * lanes + c % lanes)];
                        }
                        ASSERT_NEAR(found[at(x * kChannels + c)], activated(sum, activation), 1e-5)
                            << kernel << " x " << kernel << ", stride " << stride << ", width " << width;
                        total += activated(sum, activation);
                    }
                    ASSERT_NEAR(sums[at(c)], total, 1e-4);
                }
            }
        }
    }
}

TEST_P(NetworkKernels, StemRowsOfAnyWidth) {
    const int kChannels = std::max(16, 2 * GetParam()->lanes);
    for (int width_out = 1; width_out < 20; ++width_out) {
        const int stride = 2 * width_out + 2;
        const auto weights = values(9 * kChannels);
        const auto bias = values(kChannels);
        const auto data = values(3 * stride);
        const StemLayer layer{.channels = kChannels, .weights = weights.data(), .bias = bias.data()};
        std::vector<float> found(at(width_out * kChannels));
        GetParam()->stem_row(layer, data.data(), stride, width_out, found.data());
        for (int x = 0; x < width_out; ++x) {
            for (int c = 0; c < kChannels; ++c) {
                double sum = bias[at(c)];
                for (int tap = 0; tap < 9; ++tap) {
                    sum += double{data[at(tap / 3 * stride + 2 * x + tap % 3)]} * weights[at(tap * kChannels + c)];
                }
                ASSERT_NEAR(found[at(x * kChannels + c)], activated(sum, Activation::kHardswish), 1e-5);
            }
        }
    }
}

TEST_P(NetworkKernels, ScalesChannels) {
    auto data = values(3 * 48);
    const auto before = data;
    const auto factors = values(48);
    GetParam()->scale(data.data(), 3, 48, factors.data());
    for (int i = 0; i < 3 * 48; ++i) EXPECT_EQ(data[at(i)], before[at(i)] * factors[at(i % 48)]);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, NetworkKernels, testing::ValuesIn(usable_kernels()), [](const auto& tested) {
    if (tested.param == usable_kernels().back()) return "Portable";
    if (tested.param->precision == Precision::kBfloat16) return "Avx512Bfloat16";
    return tested.param->lanes == 16 ? "Avx512" : "Avx2";
});

}  // namespace
}  // namespace chorus
