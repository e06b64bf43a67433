// The real LibTorch on a real GPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/model/scoring.h"

namespace chorus {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class Gpu : public testing::Test {
  protected:
    void SetUp() override {
        if (!torch::cuda::is_available()) GTEST_SKIP() << torch_description() << ": needs a GPU";
    }

    std::unique_ptr<Classifier> make(const Bundle& bundle, int max_batch, Precision precision = Precision::kFloat32) {
        const auto on_fault = [this](const std::string& line) { faults_.push_back(line); };
        return make_classifier(
            bundle, {.device = "cuda:0", .precision = precision, .max_batch = max_batch, .on_fault = on_fault});
    }

    std::vector<std::string> faults_;
};

std::vector<float> score_on_cpu(const Bundle& bundle, std::span<const std::vector<float>> windows) {
    return score(*make_cpu_classifier(bundle, 1), windows);
}

TEST_F(Gpu, ScoresAsTheCpuDoesInBatchesOfAnySize) {
    for (const auto architecture : {Architecture::kMobileNetV3Large, Architecture::kMobileNetV3Small}) {
        const auto bundle = formula_bundle(architecture);
        const auto classifier = make(bundle, 6);
        const auto windows = windows_of(bundle, 14);
        const auto wanted = score_on_cpu(bundle, windows);
        for (std::size_t count = 1; count <= windows.size(); ++count) {
            const auto scores = score(*classifier, std::span(windows).first(count));
            EXPECT_LT(apart(scores, std::span(wanted).first(scores.size())), 1e-4) << count;
        }
        EXPECT_THAT(classifier->description(), HasSubstr("on cuda:0 in float32, at most 6 windows at once"));
    }
    EXPECT_THAT(faults_, IsEmpty());
}

TEST_F(Gpu, ScoresNearlyAsTheCpuDoesInHalfPrecision) {
    const auto bundle = read_bundle(CHORUS_STARTER);
    const auto windows = windows_of(bundle, 8);
    const auto classifier = make(bundle, 8, Precision::kFloat16);
    EXPECT_LT(apart(score(*classifier, windows), score_on_cpu(bundle, windows)), 0.02);
    EXPECT_THAT(classifier->description(), HasSubstr("in float16"));
    EXPECT_THAT(faults_, IsEmpty());
}

TEST_F(Gpu, IsTakenByItself) {
    EXPECT_THAT(make_classifier(small_bundle(), {.max_batch = 1})->description(), HasSubstr("on cuda:0"));
}

// In blocks that halve, so that less than 2 MiB are left.
std::vector<torch::Tensor> take_all_memory() {
    std::vector<torch::Tensor> taken;
    for (std::int64_t bytes = std::int64_t{1} << 30; bytes >= std::int64_t{1} << 21;) {
        try {
            taken.push_back(torch::empty({bytes}, torch::TensorOptions(torch::kUInt8).device(torch::kCUDA, 0)));
        } catch (const c10::OutOfMemoryError&) {
            bytes /= 2;
        }
    }
    return taken;
}

TEST_F(Gpu, GoesOnInSmallerBatchesWhereMemoryIsShort) {
    const auto bundle = formula_bundle(Architecture::kMobileNetV3Large);
    const auto windows = windows_of(bundle, 40);
    const auto wanted = score_on_cpu(bundle, windows);
    make(bundle, 1);  // what CUDA itself takes, it takes now
    auto left = torch::empty({160 << 20}, torch::TensorOptions(torch::kUInt8).device(torch::kCUDA, 0));
    const auto taken = take_all_memory();
    left.reset();
    const auto classifier = make(bundle, 64);  // one layer's output alone is 197 MB for 64 windows
    EXPECT_THAT(faults_, Contains(HasSubstr("out of memory with 64 windows at once, going on with 32")));
    EXPECT_LT(apart(score(*classifier, windows), wanted), 1e-4);
}

// A kernel that fails takes the process's whole CUDA context with it: hence a process of its own.
TEST_F(Gpu, LeavesItsWindowsToTheCpuWhenItIsLost) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto bundle = small_bundle();
    const auto windows = windows_of(bundle, 5);
    const auto lose = [&] {
        const auto classifier = make(bundle, 8);
        const auto on_gpu = torch::TensorOptions(torch::kInt64).device(torch::kCUDA, 0);
        torch::zeros({2}, on_gpu).index_select(0, torch::full({1}, 1'000'000, on_gpu));  // there is no such element
        const bool right = apart(score(*classifier, windows), score_on_cpu(bundle, windows)) < 1e-5;
        const bool told = faults_.size() == 1 && faults_[0].find("lost, the CPU scores") != std::string::npos;
        const bool stays = classifier->description().find("own network on the CPU") != std::string::npos;
        std::_Exit(right && told && stays ? 0 : 1);
    };
    EXPECT_EXIT(lose(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace chorus
