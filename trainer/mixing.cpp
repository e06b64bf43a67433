#include "trainer/mixing.h"

#include <torch/torch.h>

#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

namespace chorus {
namespace {

constexpr std::array kMixingNames = {
    std::pair{Mixing::kNone, "none"},
    std::pair{Mixing::kMixup, "mixup"},
    std::pair{Mixing::kManifoldMixup, "manifold"},
    std::pair{Mixing::kMultiMix, "multimix"},
    std::pair{Mixing::kMix2, "mix2"},
};
constexpr std::array kSemanticsNames = {
    std::pair{MixingSemantics::kPaper, "paper"},
    std::pair{MixingSemantics::kReference, "reference"},
};

template <typename Table, typename Value>
std::string name_of(const Table& table, Value value) {
    for (const auto& [known, name] : table)
        if (known == value) return name;
    throw std::invalid_argument("a value outside its enumeration");
}

template <typename Value, typename Table>
std::optional<Value> value_of(const Table& table, std::string_view name) {
    for (const auto& [value, known] : table)
        if (known == name) return value;
    return std::nullopt;
}

at::Tensor interpolate(const at::Tensor& values, const at::Tensor& partner, const at::Tensor& lambda) {
    return torch::lerp(values.index_select(0, partner), values, lambda);
}

}  // namespace

std::string to_string(Mixing mixing) {
    return name_of(kMixingNames, mixing);
}
std::string to_string(MixingSemantics semantics) {
    return name_of(kSemanticsNames, semantics);
}
std::optional<Mixing> parse_mixing(std::string_view name) {
    return value_of<Mixing>(kMixingNames, name);
}
std::optional<MixingSemantics> parse_semantics(std::string_view name) {
    return value_of<MixingSemantics>(kSemanticsNames, name);
}

Mixing draw_mixing(Mixing mixing, Random& random) {
    if (mixing != Mixing::kMix2) return mixing;
    const double u = random.uniform();
    if (u < 0.5) return Mixing::kManifoldMixup;
    return u < 0.75 ? Mixing::kMultiMix : Mixing::kMixup;
}

PairMix draw_pair_mix(const MixingParameters& parameters, Mixing mixing, std::int64_t batch, std::int64_t mels,
                      Random& random) {
    const bool reference = parameters.semantics == MixingSemantics::kReference;
    PairMix mix;
    mix.lambda = torch::empty({reference && mixing == Mixing::kMixup ? mels : batch}, torch::kFloat32);
    for (std::int64_t i = 0; i < mix.lambda.numel(); ++i)
        mix.lambda.data_ptr<float>()[i] =
            static_cast<float>(random.beta(parameters.mixup_alpha, parameters.mixup_alpha));
    mix.partner = torch::empty({batch}, torch::kInt64);
    const auto order = random.permutation(static_cast<std::size_t>(batch));
    std::copy(order.begin(), order.end(), mix.partner.data_ptr<std::int64_t>());
    mix.target_lambda = reference ? mix.lambda.mean().expand({batch}) : mix.lambda;
    return mix;
}

at::Tensor mix_inputs(const at::Tensor& input, const PairMix& mix, MixingSemantics semantics) {
    const auto lambda =
        semantics == MixingSemantics::kReference ? mix.lambda.view({1, 1, -1, 1}) : mix.lambda.view({-1, 1, 1, 1});
    return interpolate(input, mix.partner, lambda);
}

at::Tensor mix_embeddings(const at::Tensor& embedding, const PairMix& mix) {
    return interpolate(embedding, mix.partner, mix.lambda.unsqueeze(1));
}

at::Tensor mix_targets(const at::Tensor& targets, const PairMix& mix) {
    return interpolate(targets, mix.partner, mix.target_lambda.unsqueeze(1));
}

at::Tensor draw_dirichlet(std::int64_t rows, std::int64_t columns, double alpha, Random& random) {
    auto weights = torch::empty({rows, columns}, torch::kFloat32);
    std::vector<double> gammas(static_cast<std::size_t>(columns));
    for (std::int64_t row = 0; row < rows; ++row) {
        double sum = 0.0;
        for (auto& gamma : gammas) sum += gamma = random.gamma(alpha);
        for (std::int64_t column = 0; column < columns; ++column)
            weights.data_ptr<float>()[row * columns + column] = static_cast<float>(
                sum > 0.0 ? gammas[static_cast<std::size_t>(column)] / sum : 1.0 / static_cast<double>(columns));
    }
    return weights;
}

}  // namespace chorus
