#include "trainer/loss.h"

#include <torch/torch.h>

namespace chorus {

std::string to_string(LossKind kind) {
    if (kind == LossKind::kFocal) return "focal";
    return kind == LossKind::kAsymmetric ? "asymmetric" : "bce";
}

at::Tensor loss_of(const LossParameters& parameters, const at::Tensor& logits, const at::Tensor& targets,
                   const at::Tensor& positive_weights) {
    if (parameters.kind == LossKind::kAsymmetric) {
        constexpr double kSmallest = 1e-8;
        const auto p = logits.sigmoid();
        const auto q = (p - parameters.margin).clamp_min(0.0);
        auto of_positives = targets * torch::log_sigmoid(logits) * (1.0 - p).pow(parameters.positive_gamma);
        if (positive_weights.defined()) of_positives = of_positives * positive_weights;
        const auto of_negatives =
            (1.0 - targets) * (1.0 - q).clamp_min(kSmallest).log() * q.pow(parameters.negative_gamma);
        return -(of_positives + of_negatives).mean();
    }
    if (parameters.kind == LossKind::kBinaryCrossEntropy)
        return torch::binary_cross_entropy_with_logits(logits, targets, {}, positive_weights);
    const auto cross_entropy =
        torch::binary_cross_entropy_with_logits(logits, targets, {}, positive_weights, at::Reduction::None);
    return (cross_entropy * (targets - logits.sigmoid()).abs().pow(parameters.focal_gamma)).mean();
}

}  // namespace chorus
