#include "trainer/mixed_forward.h"

#include "trainer/autocast.h"
#include "trainer/exchange.h"

namespace chorus {
namespace {

/// A step's way from a batch to what the loss compares. Rows are mixed with any of the batch, wherever these lie: all
/// are gathered, all mixed as the draws say, and each process goes on with its own.
class MixedForward {
  public:
    MixedForward(MobileNetV3& network, const Batch& batch, const TrainingOptions& options,
                 const ProcessGroup& processes, Random& random)
        : network_(network), batch_(batch), options_(options), processes_(processes), random_(random) {}

    Outcome plain() { return {classify(embedded()), batch_.targets}; }

    Outcome mixup() {
        const auto mix = draw_pairs(Mixing::kMixup, batch_.input.size(2));
        const auto input = mix_inputs(all_of(batch_.input), mix, options_.mixing.semantics);
        return {classify(from_stage(processes_.own_rows(input), 0)), mixed_targets(mix)};
    }

    Outcome manifold_mixup() {
        const auto mix = draw_pairs(Mixing::kManifoldMixup, 0);
        return {classify(mixed(embedded(), mix)), mixed_targets(mix)};
    }

    /// At a layer drawn from the input, each stage and the embedding.
    Outcome manifold_mixup_at_random_layer() {
        const auto mix = draw_pairs(Mixing::kManifoldMixup, 0);
        const int stages = network_->stages();
        const int layer = static_cast<int>(random_.below(static_cast<std::size_t>(stages) + 2));
        if (layer > stages) return {classify(mixed(embedded(), mix)), mixed_targets(mix)};
        const auto hidden = in_float32([&] { return network_->run_stages(batch_.input, 0, layer); });
        return {classify(from_stage(mixed(hidden, mix), layer)), mixed_targets(mix)};
    }

    Outcome multimix() {
        const auto samples = options_.mixing.multimix_samples;
        const auto rows = samples > 0 ? samples * processes_.size() : rows_of_all();
        const auto weights = processes_.own_rows(
            draw_dirichlet(rows, rows_of_all(), options_.mixing.dirichlet_alpha, random_).to(batch_.input.device()));
        return {classify(weights.matmul(all_of(embedded()))), weights.matmul(all_of(batch_.targets))};
    }

  private:
    std::int64_t rows_of_all() const { return batch_.input.size(0) * processes_.size(); }

    PairMix draw_pairs(Mixing mixing, std::int64_t mels) {
        const auto mix = draw_pair_mix(options_.mixing, mixing, rows_of_all(), mels, random_);
        const auto device = batch_.input.device();
        return {.lambda = mix.lambda.to(device),
                .partner = mix.partner.to(device),
                .target_lambda = mix.target_lambda.to(device)};
    }

    /// What a part of the network gives, to be mixed and judged in.
    template <typename Part>
    torch::Tensor in_float32(const Part& part) const {
        const AutocastGuard guard(batch_.input.device(), options_.autocast);
        return part().to(torch::kFloat32);
    }

    torch::Tensor embedded() const {
        return in_float32([&] { return embed(network_, batch_.input, options_.freeze); });
    }
    torch::Tensor from_stage(const torch::Tensor& hidden, int stage) const {
        return in_float32([&] { return network_->pool(network_->run_stages(hidden, stage, network_->stages())); });
    }
    torch::Tensor classify(const torch::Tensor& embedding) const {
        return in_float32([&] { return network_->classify(embedding); });
    }

    torch::Tensor all_of(const torch::Tensor& own) const { return gather_rows(own, processes_); }
    torch::Tensor mixed(const torch::Tensor& hidden, const PairMix& mix) const {
        return processes_.own_rows(mix_hidden(all_of(hidden), mix));
    }
    torch::Tensor mixed_targets(const PairMix& mix) const {
        return processes_.own_rows(mix_targets(all_of(batch_.targets), mix));
    }

    MobileNetV3& network_;
    const Batch& batch_;
    const TrainingOptions& options_;
    const ProcessGroup& processes_;
    Random& random_;
};

}  // namespace

torch::Tensor embed(MobileNetV3& network, const torch::Tensor& input, Freeze freeze) {
    return freeze == Freeze::kEmbeddings ? input : network->embed(input);
}

Outcome mixed_forward(MobileNetV3& network, const Batch& batch, const TrainingOptions& options,
                      const ProcessGroup& processes, Mixing mixing, Random& random) {
    const bool has_windows = options.freeze != Freeze::kEmbeddings;
    const bool at_random_layer = has_windows && options.mixing.manifold_layer == ManifoldLayer::kRandom;
    if (mixing == Mixing::kMixup && !has_windows) mixing = Mixing::kManifoldMixup;
    MixedForward forward(network, batch, options, processes, random);
    switch (mixing) {
        case Mixing::kMixup:
            return forward.mixup();
        case Mixing::kManifoldMixup:
            return at_random_layer ? forward.manifold_mixup_at_random_layer() : forward.manifold_mixup();
        case Mixing::kMultiMix:
            return forward.multimix();
        case Mixing::kNone:
            break;
    }
    return forward.plain();
}

}  // namespace chorus
