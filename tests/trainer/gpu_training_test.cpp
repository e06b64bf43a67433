// The loop that fits a network, on a real GPU.

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "model/classifier.h"
#include "model/safetensors.h"
#include "tests/temporary_folder.h"
#include "tests/trainer/made_up_training.h"

namespace chorus {
namespace {

class GpuTraining : public testing::Test, protected MadeUpTraining {
  protected:
    void SetUp() override {
        if (!torch::cuda::is_available()) GTEST_SKIP() << torch_description() << ": needs a GPU";
        // TensorFloat-32 has 10 bits of the 23.
        at::globalContext().setAllowTF32CuDNN(false);
        at::globalContext().setAllowTF32CuBLAS(false);
    }

    static TrainingOptions options_on(const std::string& device, int epochs) {
        auto options = quick_options();
        options.device = device;
        options.epochs = epochs;
        options.mixing.manifold_layer = ManifoldLayer::kRandom;
        options.class_weights = ClassWeights::kInverseFrequency;
        options.weight_average = 0.9;
        options.clip_norm = 1.0;
        return options;
    }

    TemporaryFolder folder_;
};

TEST_F(GpuTraining, TakesTheFirstStepOfTheCpu) {
    const auto step_on = [&](const std::string& device) {
        auto options = options_on(device, 1);
        options.batch = kTraining;
        return train(data(), options);
    };
    const auto wanted = step_on("cpu");
    const auto found = step_on("cuda:0");
    EXPECT_NEAR(found.epochs[0].loss, wanted.epochs[0].loss, 1e-3);
    for (const auto& [name, tensor] : wanted.tensors) {
        if (tensor.type == TensorType::kInt64) continue;
        const auto a = to_float32(tensor);
        const auto b = to_float32(found.tensors.at(name));
        for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 0.02) << name;
    }
}

TEST_F(GpuTraining, LearnsInEveryTypeOfAutocast) {
    for (const auto autocast : {Autocast::kNone, Autocast::kBfloat16, Autocast::kFloat16}) {
        auto options = options_on("auto", 12);
        options.autocast = autocast;
        const auto trained = train(data(), options);
        EXPECT_LT(trained.epochs.back().loss, 0.95 * trained.epochs.front().loss) << to_string(autocast);
    }
}

TEST_F(GpuTraining, GoesOnFromACheckpoint) {
    auto options = options_on("cuda:0", 3);
    options.autocast = Autocast::kFloat16;
    int asked = 0;
    const Persistence persistence{
        .checkpoint = folder_ / "checkpoint", .resume = Resume::kAlways, .must_stop = [&] { return ++asked == 4; }};
    EXPECT_THROW(train(data(), options, {}, persistence), Interrupted);
    const auto trained = train(data(), options, {}, persistence);
    EXPECT_EQ(trained.epochs.size(), 3U);
    EXPECT_TRUE(std::isfinite(trained.epochs.back().loss));
}

}  // namespace
}  // namespace chorus
