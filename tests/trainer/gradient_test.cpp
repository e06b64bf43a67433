// One step of training against the same step in PyTorch (tests/data/make_gradient_golden.py).

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/formula_weights.h"
#include "tests/model/golden_files.h"
#include "trainer/loss.h"

namespace chorus {
namespace {

constexpr std::int64_t kBatch = 2;
constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kMels = 128;
constexpr std::size_t kSums = 8;
constexpr double kTolerance = 1e-4;
// All that is left of the gradient of a bias whose shift the next normalisation takes out again.
constexpr double kRounding = 1e-5;

struct Step {
    const char* name;
    Architecture architecture;
    std::int64_t frames;
    const char* batch;  // whose ReLUs' inputs stay far from 0
};

void PrintTo(const Step& step, std::ostream* out) {
    *out << step.name;
}

std::vector<double> values_of(const torch::Tensor& tensor) {
    const auto flat = tensor.contiguous().view(-1).to(torch::kDouble);
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

double length_of(const std::vector<double>& values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return std::sqrt(sum);
}

torch::Tensor formula_tensor(const char* key, std::vector<std::int64_t> shape) {
    auto tensor = torch::empty(shape);
    auto* out = tensor.data_ptr<float>();
    for (const double value : uniform(key, static_cast<std::size_t>(tensor.numel())))
        *out++ = static_cast<float>(0.5 + 0.5 * value);
    return tensor;
}

class Gradients : public testing::TestWithParam<Step> {
  protected:
    std::vector<float> wanted(const std::string& name) {
        return golden(file_, std::string(GetParam().name) + '.' + name);
    }

    SafetensorsFile file_ = golden_file("gradient_golden.safetensors");
};

TEST_P(Gradients, AreThoseOfTheSameStepInPyTorch) {
    MobileNetV3 network(
        MobileNetOptions{.architecture = GetParam().architecture, .classes = static_cast<int>(kClasses)});
    load_weights(network, formula_weights(GetParam().architecture, static_cast<int>(kClasses)));
    network->train();
    const auto batch = formula_tensor(GetParam().batch, {kBatch, 1, kMels, GetParam().frames});
    const auto targets = formula_tensor("targets", {kBatch, kClasses});
    const auto logits = network->forward(batch);
    loss_of({}, logits, targets, {}).backward();

    const auto found_logits = values_of(logits.detach());
    const auto wanted_logits = wanted("logits");
    ASSERT_EQ(found_logits.size(), wanted_logits.size());
    const double scale = length_of(found_logits) / std::sqrt(static_cast<double>(found_logits.size()));
    for (std::size_t i = 0; i < wanted_logits.size(); ++i)
        EXPECT_NEAR(found_logits[i], wanted_logits[i], kTolerance * scale) << "logit " << i;

    std::size_t gradients = 1;
    for (const auto& item : network->named_parameters()) {
        const auto values = values_of(item.value().grad());
        const auto golden_values = wanted(item.key());
        const double length = golden_values[0];
        ++gradients;
        if (length < kRounding) {
            EXPECT_LT(length_of(values), kRounding) << item.key();
            continue;
        }
        EXPECT_NEAR(length_of(values), length, kTolerance * length) << item.key();
        for (std::size_t k = 0; k < kSums; ++k) {
            const auto factors = uniform(item.key() + '/' + std::to_string(k), values.size());
            double sum = 0.0;
            for (std::size_t i = 0; i < values.size(); ++i) sum += factors[i] * values[i];
            EXPECT_NEAR(sum, golden_values[1 + k], kTolerance * length) << item.key() << " sum " << k;
        }
        for (std::size_t i = 0; i + 1 + kSums < golden_values.size(); ++i)
            EXPECT_NEAR(values[i], golden_values[1 + kSums + i], kTolerance * length) << item.key() << ' ' << i;
    }
    const auto prefix = std::string(GetParam().name) + '.';
    EXPECT_EQ(gradients, std::count_if(file_.tensors.begin(), file_.tensors.end(),
                                       [&](const auto& tensor) { return tensor.first.starts_with(prefix); }));
}

INSTANTIATE_TEST_SUITE_P(Both, Gradients,
                         testing::Values(Step{"large", Architecture::kMobileNetV3Large, 96, "batch 55"},
                                         Step{"small", Architecture::kMobileNetV3Small, 64, "batch 18"}),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace chorus
