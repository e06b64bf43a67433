#include "trainer/loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace chorus {
namespace {

double loss(const LossParameters& parameters, double logit, double target, double weight = 1.0) {
    return loss_of(parameters, torch::full({1, 1}, logit, torch::kFloat64),
                   torch::full({1, 1}, target, torch::kFloat64), torch::full({1}, weight, torch::kFloat64))
        .item<double>();
}

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

TEST(Loss, IsTheMeanCrossEntropyWithTheWeightOnPositives) {
    const LossParameters bce;
    EXPECT_NEAR(loss(bce, 0.7, 1.0, 3.0), -3.0 * std::log(sigmoid(0.7)), 1e-9);
    EXPECT_NEAR(loss(bce, 0.7, 0.25), -0.25 * std::log(sigmoid(0.7)) - 0.75 * std::log(1 - sigmoid(0.7)), 1e-9);
    const auto logits = torch::randn({4, 3});
    const auto targets = torch::rand({4, 3});
    EXPECT_TRUE(
        torch::equal(loss_of(bce, logits, targets, {}), torch::binary_cross_entropy_with_logits(logits, targets)));
}

TEST(Loss, FocusesByTheDistanceFromTheTarget) {
    const LossParameters focal{.kind = LossKind::kFocal, .focal_gamma = 2.0};
    const double p = sigmoid(-0.4);
    EXPECT_NEAR(loss(focal, -0.4, 1.0), -std::pow(1 - p, 2) * std::log(p), 1e-9);
    EXPECT_NEAR(loss(focal, -0.4, 0.0), -std::pow(p, 2) * std::log(1 - p), 1e-9);
    EXPECT_NEAR(loss(focal, 0.0, 0.5), 0.0, 1e-12);  // a soft target that is met
    EXPECT_NEAR(loss({.kind = LossKind::kFocal, .focal_gamma = 0.0}, 0.7, 0.3), loss({}, 0.7, 0.3), 1e-9);
}

TEST(Loss, TreatsNegativesAsymmetrically) {
    const LossParameters asymmetric{
        .kind = LossKind::kAsymmetric, .positive_gamma = 1.0, .negative_gamma = 3.0, .margin = 0.1};
    const double p = sigmoid(0.5);
    EXPECT_NEAR(loss(asymmetric, 0.5, 1.0, 2.0), -2.0 * (1 - p) * std::log(p), 1e-9);
    EXPECT_NEAR(loss(asymmetric, 0.5, 0.0), -std::pow(p - 0.1, 3) * std::log(1 - (p - 0.1)), 1e-9);
    EXPECT_EQ(loss(asymmetric, -3.0, 0.0), 0.0);  // below the margin
    const LossParameters plain{
        .kind = LossKind::kAsymmetric, .positive_gamma = 0.0, .negative_gamma = 0.0, .margin = 0.0};
    EXPECT_NEAR(loss(plain, 0.7, 0.3), loss({}, 0.7, 0.3), 1e-9);
}

TEST(Loss, HasFiniteGradientsAtTheEdges) {
    for (const auto kind : {LossKind::kBinaryCrossEntropy, LossKind::kFocal, LossKind::kAsymmetric}) {
        auto logits = torch::tensor({-60.0F, 60.0F, -60.0F, 60.0F}).unsqueeze(0).set_requires_grad(true);
        loss_of({.kind = kind}, logits, torch::tensor({1.0F, 1.0F, 0.0F, 0.0F}).unsqueeze(0), {}).backward();
        EXPECT_TRUE(logits.grad().isfinite().all().item<bool>()) << to_string(kind);
    }
}

}  // namespace
}  // namespace chorus
