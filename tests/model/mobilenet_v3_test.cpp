#include "model/mobilenet_v3.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/model/formula_weights.h"
#include "tests/model/golden_files.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr int kClasses = 42;

struct Size {
    Architecture architecture;
    const char* name;
    std::int64_t embedding;
    std::int64_t parameters;
};

void PrintTo(const Size& size, std::ostream* out) {
    *out << size.name;
}

class MobileNetSizes : public testing::TestWithParam<Size> {
  protected:
    MobileNetSizes() {
        load_weights(network, formula_weights(GetParam().architecture, kClasses));
        network->eval();
    }

    MobileNetV3 network{MobileNetOptions{.architecture = GetParam().architecture, .classes = kClasses}};
    torch::Tensor input = torch::tensor(formula_input(128 * 376)).view({1, 1, 128, 376});
    SafetensorsFile file = golden_file("network_golden.safetensors");

    void expect_near(const torch::Tensor& found, const std::string& name) {
        const auto wanted = golden(file, GetParam().name + name);
        const auto flat = found.contiguous().view(-1);
        ASSERT_EQ(flat.numel(), std::ssize(wanted));
        float largest = 1;
        for (const float value : wanted) largest = std::max(largest, std::abs(value));
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            ASSERT_NEAR(flat[static_cast<std::int64_t>(i)].item<float>(), wanted[i], 1e-4 * largest)
                << name << " " << i;
        }
    }
};

TEST_P(MobileNetSizes, ComputesWhatTorchvisionComputes) {
    const torch::InferenceMode inference;
    const auto features = network->features(input);
    EXPECT_EQ(features.sizes(), (std::vector<std::int64_t>{1, GetParam().embedding, 4, 12}));
    expect_near(features.index({0, torch::indexing::Slice(torch::indexing::None, torch::indexing::None, 31)}),
                ".features");
    const auto embedding = network->embed(input);
    expect_near(embedding, ".embedding");
    const auto head = network->named_parameters();
    const auto logits = torch::linear(embedding, head["head.weight"], head["head.bias"]);
    EXPECT_TRUE(torch::allclose(network->forward(input), logits));
}

TEST_P(MobileNetSizes, FoldedBatchNormComputesTheSame) {
    const torch::InferenceMode inference;
    const auto before = network->embed(input);
    fold_batch_norm(network);
    const auto after = network->embed(input);
    EXPECT_FALSE(torch::equal(before, after)) << "nothing was folded";
    expect_near(after, ".embedding");
}

TEST_P(MobileNetSizes, HasTorchvisionsNames) {
    std::set<std::string> wanted{"head.weight", "head.bias"};
    std::istringstream names(file.metadata.at(GetParam().name + std::string(".names")));
    for (std::string name; std::getline(names, name);) wanted.insert(name);
    std::set<std::string> found;
    for (const auto& [name, tensor] : store_weights(network, TensorType::kFloat32)) found.insert(name);
    EXPECT_EQ(found, wanted);
}

TEST_P(MobileNetSizes, HasAsManyParametersAsPublished) {
    std::int64_t count = 0;
    for (const auto& parameter : network->parameters()) count += parameter.numel();
    EXPECT_EQ(count, GetParam().parameters);
    EXPECT_EQ(network->embedding_size(), GetParam().embedding);
}

TEST_P(MobileNetSizes, WeightsComeBackAsStored) {
    const auto stored = formula_weights(GetParam().architecture, kClasses);
    const auto again = store_weights(network, TensorType::kFloat32);
    for (const auto& [name, tensor] : stored) EXPECT_EQ(again.at(name).bytes, tensor.bytes) << name;
}

TEST_P(MobileNetSizes, EveryParameterLearns) {
    network->train();
    const auto loss = network->forward(torch::cat({input, input.flip(3)})).square().sum();
    loss.backward();
    for (const auto& item : network->named_parameters()) {
        EXPECT_TRUE(item.value().grad().defined() && item.value().grad().isfinite().all().item<bool>()) << item.key();
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, MobileNetSizes,
                         testing::Values(Size{Architecture::kMobileNetV3Large, "large", 960, 3012026},
                                         Size{Architecture::kMobileNetV3Small, "small", 576, 950954}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MobileNet, StartsAsTorchvisionDoes) {
    torch::manual_seed(1);
    const MobileNetV3 network(MobileNetOptions{.classes = kClasses});
    const auto parameters = network->named_parameters();
    const auto stem = parameters["features.0.0.weight"];
    EXPECT_NEAR(stem.std().item<double>(), std::sqrt(2.0 / (16 * 9)), 0.02);
    const auto last = parameters["features.16.0.weight"];
    EXPECT_NEAR(last.std().item<double>(), std::sqrt(2.0 / 960), 1e-3);
    EXPECT_EQ(parameters["features.4.block.2.fc1.bias"].abs().sum().item<double>(), 0);
    EXPECT_TRUE(parameters["features.16.1.weight"].eq(1).all().item<bool>());
}

TEST(MobileNet, UsesTheMomentumAskedFor) {
    MobileNetV3 network(MobileNetOptions{.classes = 2, .batch_norm_momentum = 1.0});
    network->forward(torch::full({2, 1, 64, 64}, 3.0));
    EXPECT_GT(network->named_buffers()["features.0.1.running_mean"].abs().sum().item<double>(), 0.1);
}

std::string refusal(const std::map<std::string, StoredTensor>& tensors) {
    MobileNetV3 network(MobileNetOptions{.architecture = Architecture::kMobileNetV3Small, .classes = kClasses});
    try {
        load_weights(network, tensors);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "accepted";
}

TEST(MobileNet, RefusesWeightsThatAreNotItsOwn) {
    const auto good = formula_weights(Architecture::kMobileNetV3Small, kClasses);
    EXPECT_EQ(refusal(good), "accepted");

    auto missing = good;
    missing.erase("features.3.block.1.0.weight");
    EXPECT_THAT(refusal(missing), HasSubstr("tensor features.3.block.1.0.weight is missing"));

    auto unknown = good;
    unknown["classifier.0.weight"] = good.at("head.bias");
    EXPECT_THAT(refusal(unknown), HasSubstr("tensor classifier.0.weight is unknown"));

    auto misshapen = good;
    misshapen["head.bias"].shape = {6, 7};
    EXPECT_THAT(refusal(misshapen), HasSubstr("tensor head.bias has shape [6, 7], the network wants [42]"));

    auto integers = good;
    integers["features.0.1.num_batches_tracked"] = to_stored(std::vector<float>{0}, {}, TensorType::kFloat32);
    EXPECT_THAT(refusal(integers), HasSubstr("the network wants int64"));

    auto short_of_bytes = good;
    short_of_bytes["head.bias"].bytes.resize(8);
    EXPECT_THAT(refusal(short_of_bytes), HasSubstr("tensor head.bias holds 2 values"));
}

}  // namespace
}  // namespace chorus
