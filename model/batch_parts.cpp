#include "model/batch_parts.h"

#include <tuple>

#include "model/batch_norm.h"

namespace chorus {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// A number a channel beside [batch, channel, height, width].
torch::Tensor by_channel(const torch::Tensor& values) {
    return values.view({1, -1, 1, 1});
}

double rows_of_all(const torch::Tensor& input, const BatchParts& parts) {
    return static_cast<double>(input.numel() / input.size(1)) * parts.count;
}

/// Given the moments of all rows, the layer in evaluation is what training computes; and so is its gradient but for the
/// terms that come of the moments' own dependence on each row: of scale * (g - mean(g) - x' * mean(g * x')), with x'
/// the normalised input and scale = weight / deviation, the first is the evaluating layer's, and the sums in the others
/// are its gradients of bias and weight.
struct NormalisePart : torch::autograd::Function<NormalisePart> {
    static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input, const torch::Tensor& weight,
                                 const torch::Tensor& bias, const torch::Tensor& mean, const torch::Tensor& variance,
                                 const BatchParts* parts) {
        context->saved_data["parts"] = reinterpret_cast<std::int64_t>(parts);
        context->save_for_backward({input, weight, mean, variance});
        return std::get<0>(torch::native_batch_norm(input, weight, bias, mean, variance, /*training=*/false,
                                                    /*momentum=*/0.0, kBatchNormEpsilon));
    }

    static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
        const auto& parts = *reinterpret_cast<const BatchParts*>(context->saved_data["parts"].toInt());
        const auto saved = context->get_saved_variables();
        const auto& [input, weight, mean, variance] = std::tie(saved[0], saved[1], saved[2], saved[3]);
        auto [of_input, of_weight, of_bias] =
            torch::native_batch_norm_backward(gradients.front(), input, weight, mean, variance, {}, {},
                                              /*train=*/false, kBatchNormEpsilon, {true, true, true});
        const auto means = parts.add_up(torch::stack({of_bias, of_weight})) / rows_of_all(input, parts);
        const auto inverse_deviation = torch::rsqrt(variance + kBatchNormEpsilon);
        const auto slope = weight * inverse_deviation * inverse_deviation * means[1];
        const auto shift = weight * inverse_deviation * means[0] - mean * slope;
        of_input.addcmul_(input, by_channel(slope), -1.0).sub_(by_channel(shift));
        return {of_input, of_weight, of_bias, {}, {}, {}};
    }
};

/// Mean and (biased) variance of all rows. In float64, squares drown nothing.
std::pair<torch::Tensor, torch::Tensor> moments_of_all(const torch::Tensor& input, const BatchParts& parts) {
    auto [variance, mean] = torch::var_mean(input, {0, 2, 3}, /*unbiased=*/false);
    mean = mean.to(torch::kFloat64);
    const auto all = parts.add_up(torch::stack({mean, variance + mean * mean})) / parts.count;
    return {all[0].to(torch::kFloat32), (all[1] - all[0] * all[0]).clamp_min(0.0).to(torch::kFloat32)};
}

}  // namespace

torch::Tensor normalise_part(const torch::Tensor& input, const BatchNorm& norm) {
    const auto values = input.to(torch::kFloat32);
    torch::Tensor mean;
    torch::Tensor variance;
    {
        const torch::NoGradGuard no_grad;
        std::tie(mean, variance) = moments_of_all(values, *norm.parts);
        const double rows = rows_of_all(values, *norm.parts);
        auto running_mean = norm.running_mean;
        auto running_var = norm.running_var;
        running_mean.lerp_(mean, norm.momentum);
        running_var.lerp_(variance * (rows / (rows - 1.0)), norm.momentum);
    }
    return NormalisePart::apply(values, norm.weight, norm.bias, mean, variance, norm.parts).to(input.scalar_type());
}

}  // namespace chorus
