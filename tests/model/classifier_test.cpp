#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/bundle.h"
#include "model/classifier.h"
#include "tests/model/scoring.h"

namespace chorus {
namespace {

using testing::HasSubstr;

TEST(Classifier, ScoresAreTheNetworksSigmoid) {
    const auto bundle = small_bundle();
    const auto windows = windows_of(bundle, 1);
    const auto scores = score(*make_classifier(bundle, {.device = "cpu"}), windows);

    MobileNetV3 network(MobileNetOptions{.architecture = bundle.architecture, .classes = 3});
    load_weights(network, bundle.tensors);
    network->eval();
    const torch::InferenceMode inference;
    const auto wanted = torch::sigmoid(network->forward(torch::tensor(windows[0]).view({1, 1, 128, 376})));
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(scores[i], wanted[0][static_cast<std::int64_t>(i)].item<float>(), 1e-5);
    }
}

TEST(Classifier, AWindowsScoresAreTheSameBitsInAnyBatch) {
    const auto bundle = small_bundle();
    const auto classifier = make_classifier(bundle, {.device = "cpu"});
    const auto windows = windows_of(bundle, 5);
    const auto together = score(*classifier, windows);
    for (std::size_t i = 0; i < windows.size(); ++i) {
        const auto alone = score(*classifier, std::span(windows).subspan(i, 1));
        EXPECT_EQ(alone, std::vector(together.begin() + static_cast<std::ptrdiff_t>(3 * i),
                                     together.begin() + static_cast<std::ptrdiff_t>(3 * i + 3)));
    }
    EXPECT_NE(together[0], together[3]);
}

TEST(Classifier, HalfPrecisionWeightsScoreNearly) {
    const auto bundle = small_bundle();
    const auto windows = windows_of(bundle, 1);
    const auto full = score(*make_classifier(bundle, {.device = "cpu"}), windows);
    const auto half = score(*make_classifier(small_bundle(TensorType::kFloat16), {.device = "cpu"}), windows);
    for (std::size_t i = 0; i < full.size(); ++i) EXPECT_NEAR(half[i], full[i], 5e-3);
}

TEST(Classifier, NoWindowsGiveNoScores) {
    const auto classifier = make_classifier(small_bundle(), {});
    EXPECT_TRUE(score(*classifier, {}).empty());
    EXPECT_EQ(classifier->classes(), 3U);
    EXPECT_THAT(classifier->description(), HasSubstr("network on the CPU"));
    const auto torch = make_torch_classifier(small_bundle(), {.device = "cpu", .max_batch = 2});
    EXPECT_THAT(torch->description(), HasSubstr("on the CPU in float32, 1 thread, at most 2 windows at once"));
}

TEST(Classifier, ScoresAreTheSameBitsOnAnyNumberOfThreads) {
    const auto bundle = small_bundle();
    const auto one = make_classifier(bundle, {.device = "cpu"});
    const auto three = make_classifier(bundle, {.device = "cpu", .threads = 3});
    const auto other = one->for_another_thread();
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(three->for_another_thread(), nullptr) << "it takes several threads by itself";
    EXPECT_FALSE(one->gains_from_batches());
    EXPECT_TRUE(three->gains_from_batches());
    const auto windows = windows_of(bundle, 5);
    const auto wanted = score(*one, windows);
    EXPECT_EQ(score(*three, windows), wanted);
    EXPECT_EQ(score(*three, std::span(windows).first(2)), std::vector(wanted.begin(), wanted.begin() + 6));
    EXPECT_EQ(score(*other, windows), wanted);
}

TEST(Classifier, LibTorchGivesTheSameScores) {
    const auto bundle = small_bundle();
    const auto windows = windows_of(bundle, 7);
    const auto own = score(*make_classifier(bundle, {.device = "cpu"}), windows);
    for (const int max_batch : {1, 4, 16}) {  // 7 windows: one by one, 4 and 3 of 4, 7 of 8
        const auto torch = score(*make_torch_classifier(bundle, {.device = "cpu", .max_batch = max_batch}), windows);
        for (std::size_t i = 0; i < own.size(); ++i) EXPECT_NEAR(own[i], torch[i], 1e-4) << i << " in " << max_batch;
    }
}

TEST(Classifier, LibTorchScoresNearlyTheSameInHalfPrecision) {
    if (TORCH_VERSION_MAJOR < 2) GTEST_SKIP() << "LibTorch 1 has no half precision on the CPU";
    const auto bundle = read_bundle(CHORUS_STARTER);
    const auto windows = windows_of(bundle, 3);
    const auto own = score(*make_classifier(bundle, {.device = "cpu"}), windows);
    const auto half = score(
        *make_torch_classifier(bundle, {.device = "cpu", .precision = Precision::kFloat16, .max_batch = 4}), windows);
    EXPECT_LT(apart(half, own), 0.02);
    EXPECT_GT(apart(half, own), 1e-6) << "float32";
}

TEST(Classifier, SaysInOneLineWhyItCannotBeMade) {
    const auto refusal = [](const Bundle& bundle, const std::string& device) -> std::string {
        try {
            make_classifier(bundle, {.device = device});
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "accepted";
    };
    const auto bundle = small_bundle();
    for (const std::string device : {"cuda", "cuda:", "cuda:-1", "cuda:x", "tpu", ""}) {
        EXPECT_EQ(refusal(bundle, device), "device \"" + device + "\": is none of auto, cpu and cuda:N");
    }
    EXPECT_THAT(refusal(bundle, "cuda:99"), HasSubstr("device \"cuda:99\": "));
    EXPECT_THROW(make_torch_classifier(bundle, {.precision = Precision::kBfloat16}), std::runtime_error);
    EXPECT_THROW(make_classifier(bundle, {.device = "cpu", .precision = Precision::kFloat16}), std::runtime_error);
    if (torch_description().find("no CUDA device") != std::string::npos) {
        std::string said;
        const auto without = make_classifier(
            bundle, {.precision = Precision::kFloat16, .on_fault = [&](const std::string& line) { said = line; }});
        EXPECT_THAT(without->description(), HasSubstr("on the CPU"));
        EXPECT_THAT(said, HasSubstr("there is none: the CPU scores in float32"));
    }
    auto broken = bundle;
    broken.tensors.erase("head.bias");
    EXPECT_EQ(refusal(broken, "cpu"), "tensor head.bias is missing");
}

TEST(Classifier, RefusesWindowsAndScoresOfTheWrongSize) {
    const auto bundle = small_bundle();
    const auto classifier = make_classifier(bundle, {.device = "cpu"});
    const std::vector<float> short_window(100);
    const std::span<const float> window = short_window;
    std::vector<float> scores(3);
    EXPECT_THROW(classifier->score({&window, 1}, scores), std::invalid_argument);
    EXPECT_THROW(classifier->score({&window, 1}, std::span(scores).first(2)), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
