#include "model/network_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
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

TEST_P(NetworkKernels, PointwiseOfAnyShape) {
    constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kHardswish,
                                           Activation::kHardsigmoid};
    int turn = 0;
    for (const int out : {8, 16, 24, 32, 40, 48, 56, 64, 112}) {
        for (const int in : {1, 8, 40, 256, 264, 520}) {
            const int pixels = 1 + turn % 17;
            const auto activation = kActivations[turn % 4];
            const bool with_residual = activation == Activation::kNone && turn % 8 == 0;
            ++turn;
            const auto weights = values(in * out);  // [in, out]
            const auto bias = values(out);
            const auto data = values(pixels * in);
            const auto residual = values(pixels * out);
            std::vector<float> panels;
            for (int column = 0; column < out;) {
                const int columns = panel_columns(out - column);
                for (int i = 0; i < in; ++i) {
                    panels.insert(panels.end(), weights.begin() + i * out + column,
                                  weights.begin() + i * out + column + columns);
                }
                column += columns;
            }
            const PointwiseLayer layer{
                .in = in, .out = out, .activation = activation, .weights = panels.data(), .bias = bias.data()};
            std::vector<float> found(at(pixels * out));
            GetParam()->pointwise(layer, data.data(), pixels, with_residual ? residual.data() : nullptr, found.data());
            for (int p = 0; p < pixels; ++p) {
                for (int o = 0; o < out; ++o) {
                    double sum = bias[at(o)];
                    for (int i = 0; i < in; ++i) sum += double{data[at(p * in + i)]} * weights[at(i * out + o)];
                    const double wanted =
                        activated(sum, activation) + (with_residual ? residual[at(p * out + o)] : 0.0F);
                    ASSERT_NEAR(found[at(p * out + o)], wanted, 1e-4) << in << " -> " << out << ", " << pixels;
                }
            }
            // A pixel alone comes to the same bits as among others.
            std::vector<float> alone(at(out));
            GetParam()->pointwise(layer, data.data() + (pixels - 1) * in, 1,
                                  with_residual ? residual.data() + (pixels - 1) * out : nullptr, alone.data());
            EXPECT_TRUE(std::equal(alone.begin(), alone.end(), found.end() - out));
        }
    }
}

TEST_P(NetworkKernels, DepthwiseRowsOfAnyWidth) {
    constexpr int kChannels = 16;
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
                                   weights[at((c / kChannelBlock * kernel * kernel + tap) * kChannelBlock +
                                              c % kChannelBlock)];
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
    constexpr int kChannels = 16;
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
    auto data = values(3 * 24);
    const auto before = data;
    const auto factors = values(24);
    GetParam()->scale(data.data(), 3, 24, factors.data());
    for (int i = 0; i < 3 * 24; ++i) EXPECT_EQ(data[at(i)], before[at(i)] * factors[at(i % 24)]);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, NetworkKernels, testing::ValuesIn(usable_kernels()),
                         [](const auto& tested) { return std::string(tested.param->instructions).substr(0, 4); });

}  // namespace
}  // namespace chorus
