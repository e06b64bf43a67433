#include "trainer/mixing.h"

#include <torch/torch.h>

#include <algorithm>
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
};
constexpr std::array kSemanticsNames = {
    std::pair{MixingSemantics::kPaper, "paper"},
    std::pair{MixingSemantics::kReference, "reference"},
};
constexpr std::array kLayerNames = {
    std::pair{ManifoldLayer::kEmbedding, "embedding"},
    std::pair{ManifoldLayer::kRandom, "random"},
};

template <typename Table, typename Value>
std::string name_of(const Table& table, Value value) {
    for (const auto& [known, name] : table)
        if (known == value) return name;
    throw std::invalid_argument("a value outside its enumeration");
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
std::string to_string(ManifoldLayer layer) {
    return name_of(kLayerNames, layer);
}

std::optional<MixingShares> parse_method(std::string_view name) {
    constexpr MixingShares kMix2;
    if (name == "mix2") return kMix2;
    if (name == "none") return MixingShares{.mixup = 0.0, .manifold = 0.0, .multimix = 0.0};
    MixingShares shares{.mixup = 0.0, .manifold = 0.0, .multimix = 0.0};
    for (std::size_t begin = 0; begin <= name.size();) {
        const auto end = std::min(name.find('+', begin), name.size());
        const auto part = name.substr(begin, end - begin);
        const auto take = [](double& share, double of_mix2) { return std::exchange(share, of_mix2) == 0.0; };
        if (!(part == "mixup"      ? take(shares.mixup, kMix2.mixup)
              : part == "manifold" ? take(shares.manifold, kMix2.manifold)
              : part == "multimix" ? take(shares.multimix, kMix2.multimix)
                                   : false))
            return std::nullopt;
        begin = end + 1;
    }
    return shares;
}

bool mixes_in(const MixingParameters& parameters, int epoch, int epochs) {
    return epoch >= parameters.plain_epochs_first && epoch < epochs - parameters.plain_epochs_last;
}

Mixing draw_mixing(const MixingParameters& parameters, Random& random) {
    const auto& shares = parameters.shares;
    double u = random.uniform() / parameters.step_share * (shares.mixup + shares.manifold + shares.multimix);
    if ((u -= shares.manifold) < 0.0) return Mixing::kManifoldMixup;
    if ((u -= shares.multimix) < 0.0) return Mixing::kMultiMix;
    if ((u -= shares.mixup) < 0.0) return Mixing::kMixup;
    return Mixing::kNone;
}

PairMix draw_pair_mix(const MixingParameters& parameters, Mixing mixing, std::int64_t batch, std::int64_t mels,
                      Random& random) {
    const bool reference = parameters.semantics == MixingSemantics::kReference;
    PairMix mix;
    mix.lambda = torch::empty({reference && mixing == Mixing::kMixup ? mels : batch}, torch::kFloat32);
    const double alpha = mixing == Mixing::kMixup ? parameters.mixup_alpha : parameters.manifold_alpha;
    for (std::int64_t i = 0; i < mix.lambda.numel(); ++i)
        mix.lambda.data_ptr<float>()[i] = static_cast<float>(random.beta(alpha, alpha));
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

at::Tensor mix_hidden(const at::Tensor& hidden, const PairMix& mix) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(hidden.dim()), 1);
    shape.front() = -1;
    return interpolate(hidden, mix.partner, mix.lambda.view(shape));
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
