#include "model/scoring_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "model/network_kernels.h"
#include "tests/model/formula_weights.h"

namespace chorus {
namespace {

using testing::HasSubstr;

struct Shape {
    Architecture architecture;
    int classes;
    int mels;
    int frames;
};

void PrintTo(const Shape& shape, std::ostream* out) {
    *out << to_string(shape.architecture) << ", " << shape.classes << " classes, " << shape.mels << " x "
         << shape.frames;
}

constexpr auto kLarge = Architecture::kMobileNetV3Large;
constexpr auto kSmall = Architecture::kMobileNetV3Small;

/// Scores of these lie between 0 and 1, not at either, where a fault would be hidden.
std::map<std::string, StoredTensor> weights_of(const Shape& shape) {
    auto tensors = formula_weights(shape.architecture, shape.classes);
    auto& head = tensors.at("head.weight");
    auto values = to_float32(head);
    for (auto& value : values) value *= 0.03F;
    head = to_stored(values, head.shape, TensorType::kFloat32);
    return tensors;
}

struct Answer {
    std::vector<float> embedding;
    std::vector<float> scores;
};

Answer plain_answer(const Shape& shape, const std::map<std::string, StoredTensor>& tensors, std::vector<float> window) {
    MobileNetV3 network(MobileNetOptions{.architecture = shape.architecture, .classes = shape.classes});
    load_weights(network, tensors);
    network->eval();
    const torch::InferenceMode inference;
    const auto input = torch::from_blob(window.data(), {1, 1, shape.mels, shape.frames});
    const auto values = [](const torch::Tensor& tensor) {
        return std::vector<float>(tensor.data_ptr<float>(), tensor.data_ptr<float>() + tensor.numel());
    };
    const auto embedding = network->embed(input).contiguous();
    return {.embedding = values(embedding),
            .scores = values(torch::sigmoid(network->classify(embedding)).contiguous())};
}

class ScoringNetworkShapes : public testing::TestWithParam<Shape> {};

void expect_as_the_plain_network(const ScoringNetwork& network, std::span<const float> window, const Answer& wanted) {
    ScoringNetwork::Scratch scratch(network);
    std::vector<float> scores(wanted.scores.size());
    network.score(window, scores, scratch);
    for (std::size_t i = 0; i < scores.size(); ++i) {
        EXPECT_NEAR(scores[i], wanted.scores[i], 1e-4) << "class " << i;
        EXPECT_TRUE(wanted.scores[i] > 0.001F && wanted.scores[i] < 0.999F) << wanted.scores[i];
    }
    std::vector<float> embedding(network.embedding_size());
    network.embed(window, embedding, scratch);
    ASSERT_EQ(embedding.size(), wanted.embedding.size());
    for (std::size_t i = 0; i < embedding.size(); ++i)
        EXPECT_NEAR(embedding[i], wanted.embedding[i], 1e-4 * (1.0 + std::abs(wanted.embedding[i]))) << i;
}

TEST_P(ScoringNetworkShapes, ScoresAsThePlainNetworkWithEveryInstructionSet) {
    const auto& shape = GetParam();
    const auto tensors = weights_of(shape);
    const auto window = formula_input(static_cast<std::size_t>(shape.mels * shape.frames));
    const auto wanted = plain_answer(shape, tensors, window);
    for (const auto* const kernels : usable_kernels()) {
        if (kernels->precision != Precision::kFloat32) continue;
        SCOPED_TRACE(kernels->instructions);
        expect_as_the_plain_network({shape.architecture, shape.classes, tensors, shape.mels, shape.frames, *kernels},
                                    window, wanted);
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ScoringNetworkShapes,
                         testing::Values(Shape{kLarge, 42, 128, 376}, Shape{kSmall, 42, 128, 376},
                                         Shape{kSmall, 10, 128, 188}, Shape{kLarge, 1, 64, 101},
                                         Shape{kLarge, 3, 33, 47}, Shape{kSmall, 9, 80, 30}, Shape{kLarge, 8, 7, 5},
                                         Shape{kSmall, 2, 1, 1}, Shape{kSmall, 5, 512, 17}));

TEST(ScoringNetwork, RoundsTo16BitsAndScoresNearly) {
    if (!has_precision(Precision::kBfloat16)) GTEST_SKIP() << "this processor has no AVX512_BF16";
    const Shape shape{kLarge, 42, 128, 376};
    const auto tensors = weights_of(shape);
    const ScoringNetwork network(shape.architecture, shape.classes, tensors, shape.mels, shape.frames,
                                 Precision::kBfloat16);
    EXPECT_THAT(network.instructions(), HasSubstr("bfloat16"));
    ScoringNetwork::Scratch scratch(network);
    const auto window = formula_input(network.window_size());
    std::vector<float> scores(42);
    network.score(window, scores, scratch);
    const auto wanted = plain_answer(shape, tensors, window).scores;
    double apart = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) apart = std::max(apart, std::abs(double{scores[i]} - wanted[i]));
    EXPECT_LT(apart, 0.02);
    EXPECT_GT(apart, 1e-5) << "nothing was rounded";
}

TEST(ScoringNetwork, SaysThatTheProcessorLacksAPrecision) {
    if (has_precision(Precision::kBfloat16)) GTEST_SKIP() << "this processor has AVX512_BF16";
    EXPECT_THROW(ScoringNetwork(kSmall, 3, formula_weights(kSmall, 3), 128, 188, Precision::kBfloat16),
                 std::runtime_error);
}

TEST(ScoringNetwork, ThreadsShareItAndAgree) {
    const auto tensors = formula_weights(kSmall, 7);
    const ScoringNetwork network(kSmall, 7, tensors, 128, 94);
    const auto window = formula_input(std::size_t{128} * 94);
    const auto other = formula_input(std::size_t{128} * 94 + 5);
    std::vector<float> alone(7);
    {
        ScoringNetwork::Scratch scratch(network);
        network.score(window, alone, scratch);
    }
    std::vector<std::vector<float>> found(3, std::vector<float>(7));
    {
        std::vector<std::jthread> threads;
        for (auto& scores : found) {
            threads.emplace_back([&] {
                ScoringNetwork::Scratch scratch(network);
                for (int i = 0; i < 4; ++i) {
                    // What another window left in the scratch must not matter.
                    network.score(std::span(other).subspan(5), scores, scratch);
                    network.score(window, scores, scratch);
                }
            });
        }
    }
    for (const auto& scores : found) EXPECT_EQ(scores, alone);
}

TEST(ScoringNetwork, SaysWhichTensorIsWrong) {
    const auto refusal = [](auto change) -> std::string {
        auto tensors = formula_weights(kSmall, 3);
        change(tensors);
        try {
            const ScoringNetwork network(kSmall, 3, tensors, 128, 188);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_EQ(refusal([](auto&) {}), "accepted");
    EXPECT_EQ(refusal([](auto& t) { t.erase("head.bias"); }), "tensor head.bias is missing");
    EXPECT_EQ(refusal([](auto& t) { t.erase("features.3.block.1.1.running_var"); }),
              "tensor features.3.block.1.1.running_var is missing");
    EXPECT_EQ(refusal([](auto& t) { t["extra"] = t["head.bias"]; }), "tensor extra is unknown to the network");
    EXPECT_EQ(refusal([](auto& t) {
                  t["head.bias"].shape = {1, 3};
              }),
              "tensor head.bias has shape [1, 3], the network wants [3]");
    EXPECT_EQ(refusal([](auto& t) { t["head.bias"].bytes.resize(8); }), "tensor head.bias holds 2 values");
    EXPECT_EQ(refusal([](auto& t) { t["head.bias"].type = TensorType::kInt64; }),
              "tensor head.bias is int64, the network wants a float");
    for (const std::string name : {"features.2.block.0.0.weight", "features.3.block.1.1.bias", "head.bias"}) {
        EXPECT_EQ(refusal([&](auto& t) { std::ranges::fill(t[name].bytes, std::byte{0xff}); }),
                  "tensor " + name + " holds what is no number");
    }
    EXPECT_EQ(refusal([](auto& t) {
                  auto& variance = t["features.3.block.1.1.running_var"];
                  auto values = to_float32(variance);
                  values.back() = -1.0F;
                  variance = to_stored(values, variance.shape, TensorType::kFloat32);
              }),
              "tensor features.3.block.1.1.running_var holds a variance below 0");
    EXPECT_THAT(refusal([](auto& t) { t["features.0.1.num_batches_tracked"].type = TensorType::kFloat32; }),
                HasSubstr("the network wants int64"));
}

TEST(ScoringNetwork, RefusesWindowsAndScoresOfTheWrongSize) {
    const ScoringNetwork network(kSmall, 3, formula_weights(kSmall, 3), 128, 188);
    ScoringNetwork::Scratch scratch(network);
    std::vector<float> window(network.window_size());
    std::vector<float> scores(3);
    EXPECT_THROW(network.score(std::span(window).subspan(1), scores, scratch), std::invalid_argument);
    EXPECT_THROW(network.score(window, std::span(scores).first(2), scratch), std::invalid_argument);
    EXPECT_THROW(network.embed(window, scores, scratch), std::invalid_argument);
    EXPECT_THROW(ScoringNetwork(kSmall, 0, {}, 128, 188), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
