#include "trainer/prototypes.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace chorus {
namespace {

constexpr double kLogit = 3.0;
constexpr double kOwnVariance = 0.5;  // against what is typical of all dimensions
constexpr double kSmallest = 1e-12;

/// Prototypes that lie too close together for the half precision of a bundle are not forced apart.
constexpr double kLargestBias = 100.0;

/// The median, which a few wild dimensions don't move; where most don't vary at all, a little of the mean.
double typical_of(const torch::Tensor& variances) {
    constexpr double kOfMean = 1e-3;
    return std::max(variances.median().item<double>(), kOfMean * variances.mean().item<double>());
}

/// Of rows whose mean is 0, shrunk towards no covariance at all by as much as its values are uncertain: the share is
/// the sum of their variances over the sum of their squares (Schaefer and Strimmer 2005, target B).
torch::Tensor covariance_of(const torch::Tensor& rows, double freedom) {
    constexpr double kLeastShrinkage = 0.01;
    const auto count = static_cast<double>(rows.size(0));
    const auto covariance = rows.t().matmul(rows) / freedom;
    const auto squares = rows.square();
    const auto uncertainty = (squares.t().matmul(squares) / count - covariance.square()).clamp_min(0.0) / freedom;
    const auto beside_diagonal = [](const torch::Tensor& matrix) {
        return (matrix.sum() - matrix.diagonal().sum()).item<double>();
    };
    const double known = beside_diagonal(covariance.square());
    const double share = known > 0.0 ? std::clamp(beside_diagonal(uncertainty) / known, kLeastShrinkage, 1.0) : 1.0;
    return (1.0 - share) * covariance + share * torch::eye(rows.size(1), torch::kFloat64);
}

}  // namespace

std::optional<HeadRow> prototype_row(std::span<const float> embeddings, std::size_t size,
                                     std::span<const std::uint8_t> present) {
    const auto clips = static_cast<std::int64_t>(present.size());
    const auto with = std::count_if(present.begin(), present.end(), [](auto value) { return value != 0; });
    if (with == 0 || with == clips) return std::nullopt;
    const auto values = torch::tensor(torch::ArrayRef(embeddings.data(), embeddings.size()), torch::kFloat64)
                            .view({clips, static_cast<std::int64_t>(size)});
    const auto has = torch::tensor(torch::ArrayRef(present.data(), present.size()), torch::kUInt8).ne(0);
    const auto mean_with = values.index({has}).mean(0);
    const auto mean_without = values.index({~has}).mean(0);
    const auto within = values - torch::where(has.unsqueeze(1), mean_with, mean_without);
    const double freedom = std::max(1.0, static_cast<double>(clips) - 2.0);

    const auto variances = within.square().sum(0) / freedom;
    const auto deviations =
        (kOwnVariance * variances + (1.0 - kOwnVariance) * typical_of(variances) + kSmallest).sqrt();
    const auto apart = mean_with - mean_without;
    const auto direction =
        torch::linalg_solve(covariance_of(within / deviations, freedom), apart / deviations) / deviations;

    HeadRow row{.weight = std::vector<float>(size), .bias = static_cast<float>(-kLogit)};
    const auto gap = direction.dot(apart).item<double>();  // between the prototypes, along the direction
    if (gap <= 0.0) return row;
    double scale = 2.0 * kLogit / gap;
    const auto middle = direction.dot(0.5 * (mean_with + mean_without)).item<double>();
    if (std::abs(middle) * scale > kLargestBias) scale = kLargestBias / std::abs(middle);
    const auto weight = (scale * direction).to(torch::kFloat32).contiguous();
    std::copy_n(weight.data_ptr<float>(), size, row.weight.begin());
    row.bias = static_cast<float>(-scale * middle);
    return row;
}

}  // namespace chorus
