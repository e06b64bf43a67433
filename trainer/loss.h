#pragma once
// What a step minimises: a mean over batch and classes, for targets between 0 and 1 as mixing makes them.

#include <ATen/core/Tensor.h>

#include <string>

namespace chorus {

enum class LossKind {
    kBinaryCrossEntropy,
    kFocal,       // |y - p|^gamma times the cross-entropy: arXiv 1708.02002 for hard targets, 2006.04388 for soft ones
    kAsymmetric,  // arXiv 2009.14119: -y (1 - p)^g+ log p - (1 - y) q^g- log(1 - q), q = max(p - margin, 0)
};

struct LossParameters {
    LossKind kind = LossKind::kBinaryCrossEntropy;
    double focal_gamma = 2.0;
    double positive_gamma = 0.0;  // asymmetric
    double negative_gamma = 4.0;
    double margin = 0.05;

    bool operator==(const LossParameters&) const = default;
};

std::string to_string(LossKind kind);  // "bce", "focal", "asymmetric"

/// logits, targets: [batch, classes]. positive_weights: [classes], times each class's part for the positives, or
/// undefined for none.
at::Tensor loss_of(const LossParameters& parameters, const at::Tensor& logits, const at::Tensor& targets,
                   const at::Tensor& positive_weights);

}  // namespace chorus
