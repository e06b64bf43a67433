#include "model/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "model/norm_kernels.h"

namespace chorus {
namespace {

torch::Tensor activated(const torch::Tensor& values, Activation activation) {
    if (activation == Activation::kRelu) return torch::relu(values);
    if (activation == Activation::kHardswish) return torch::hardswish(values);
    return values;
}

struct Shape {
    std::int64_t batch;
    std::int64_t channels;
    std::int64_t height;
    std::int64_t width;
};

void PrintTo(const Shape& shape, std::ostream* out) {
    *out << shape.batch << 'x' << shape.channels << 'x' << shape.height << 'x' << shape.width;
}

struct Step {
    torch::Tensor output;
    torch::Tensor of_input;
    torch::Tensor of_weight;
    torch::Tensor of_bias;
    torch::Tensor running_mean;
    torch::Tensor running_var;
};

class BatchNormOf : public testing::TestWithParam<std::tuple<Shape, Activation>> {
  protected:
    void SetUp() override {
        torch::manual_seed(3);
        const auto& [shape, activation] = GetParam();
        const auto each = shape.channels;
        // Of channels that lie far from zero, as they do behind a ReLU.
        input_ = torch::randn({shape.batch, each, shape.height, shape.width}) + 5.0 * torch::randn({1, each, 1, 1});
        input_ = input_.contiguous(at::MemoryFormat::ChannelsLast);
        weight_ = torch::rand({each}) + 0.5;
        bias_ = torch::randn({each});
        slope_ = torch::randn(input_.sizes());
    }

    template <typename Layer>
    Step step(const Layer& layer) const {
        const auto leaf = [](const torch::Tensor& value) { return value.detach().clone().requires_grad_(); };
        const auto input = leaf(input_);
        BatchNorm norm{.weight = leaf(weight_),
                       .bias = leaf(bias_),
                       .running_mean = torch::ones_like(bias_),
                       .running_var = torch::ones_like(bias_),
                       .momentum = 0.1};
        auto output = layer(input, norm);
        (output * slope_).sum().backward();
        return {output.detach(),  input.grad(),      norm.weight.grad(),
                norm.bias.grad(), norm.running_mean, norm.running_var};
    }

    Step own() const {
        return step([](const auto& input, const auto& norm) {
            return normalise_and_activate(input, norm, std::get<1>(GetParam()));
        });
    }

    torch::Tensor input_;
    torch::Tensor weight_;
    torch::Tensor bias_;
    torch::Tensor slope_;
};

void expect_near(const char* what, const torch::Tensor& found, const torch::Tensor& wanted) {
    ASSERT_EQ(found.sizes(), wanted.sizes()) << what;
    const double scale = std::max(wanted.abs().max().item<double>(), 1e-3);
    EXPECT_LT((found - wanted).abs().max().item<double>(), 2e-5 * scale) << what;
}

TEST_P(BatchNormOf, AndTheActivationAreLibTorchsOneAfterTheOther) {
    const auto found = own();
    const auto wanted = step([](const auto& input, const auto& norm) {
        return activated(
            torch::batch_norm(input, norm.weight, norm.bias, norm.running_mean, norm.running_var,
                              /*training=*/true, norm.momentum, kBatchNormEpsilon, /*cudnn_enabled=*/false),
            std::get<1>(GetParam()));
    });
    expect_near("output", found.output, wanted.output);
    expect_near("gradient of the input", found.of_input, wanted.of_input);
    expect_near("gradient of the weight", found.of_weight, wanted.of_weight);
    expect_near("gradient of the bias", found.of_bias, wanted.of_bias);
    expect_near("running mean", found.running_mean, wanted.running_mean);
    expect_near("running variance", found.running_var, wanted.running_var);
}

TEST_P(BatchNormOf, GivesTheSameBitsWhateverTheNumberOfThreads) {
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = own();
    at::set_num_threads(3);
    const auto three = own();
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(one.output, three.output));
    EXPECT_TRUE(torch::equal(one.of_input, three.of_input));
    EXPECT_TRUE(torch::equal(one.of_weight, three.of_weight));
    EXPECT_TRUE(torch::equal(one.of_bias, three.of_bias));
}

INSTANTIATE_TEST_SUITE_P(AnyShape, BatchNormOf,
                         testing::Combine(testing::Values(Shape{3, 16, 33, 47}, Shape{2, 24, 16, 24}, Shape{2, 1, 5, 3},
                                                          Shape{4, 1000, 2, 3}, Shape{5, 7, 1, 1}),
                                          testing::Values(Activation::kNone, Activation::kRelu,
                                                          Activation::kHardswish)));

TEST(BatchNorm, HidesNothingThatIsNoNumber) {
    const auto ones = torch::ones({8});
    auto input = torch::randn({2, 8, 3, 3});
    input[1][5][1][1] = std::numeric_limits<float>::quiet_NaN();
    for (const auto activation : {Activation::kNone, Activation::kRelu, Activation::kHardswish}) {
        const BatchNorm norm{
            .weight = ones, .bias = ones, .running_mean = ones.clone(), .running_var = ones.clone(), .momentum = 0.1};
        EXPECT_TRUE(normalise_and_activate(input, norm, activation).isnan().any().item<bool>());
        EXPECT_TRUE(norm.running_mean.isnan().any().item<bool>());
    }
}

TEST(NormKernels, AgreeWhateverTheInstructionSet) {
    constexpr int kPeriod = 264;
    constexpr long kCount = 3 * kPeriod + 24;  // ends within the pattern
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0.0F, 3.0F);
    const auto draw = [&](std::size_t count) {
        std::vector<float> values(count);
        for (auto& value : values) value = normal(random);
        return values;
    };
    const auto x = draw(kCount);
    const auto dy = draw(kCount);
    const auto scale = draw(kPeriod);
    const auto offset = draw(kPeriod);
    const auto mean = draw(kPeriod);
    for (const auto activation : {Activation::kNone, Activation::kRelu, Activation::kHardswish}) {
        const NormLayer layer{
            .activation = activation, .period = kPeriod, .scale = scale.data(), .offset = offset.data()};
        const auto all_of = [&](const NormKernels& kernels) {
            std::vector<float> values(static_cast<std::size_t>(2 * kCount + 4 * kPeriod));
            auto* at = values.data();
            kernels.apply(layer, x.data(), kCount, at);
            at += kCount;
            kernels.gradient(layer, x.data(), dy.data(), kCount, mean.data(), offset.data(), at);
            at += kCount;
            kernels.moments(x.data(), kCount, kPeriod, mean.data(), at, at + kPeriod);
            at += 2 * kPeriod;
            kernels.gradient_moments(layer, x.data(), dy.data(), kCount, mean.data(), at, at + kPeriod);
            return values;
        };
        const auto wanted = all_of(*usable_norm_kernels().back());
        for (const auto* kernels : usable_norm_kernels()) {
            const auto found = all_of(*kernels);
            for (std::size_t i = 0; i < found.size(); ++i)
                ASSERT_NEAR(found[i], wanted[i], 1e-4 * (1.0 + std::abs(wanted[i])))
                    << kernels->instructions << ' ' << i;
        }
    }
}

}  // namespace
}  // namespace chorus
