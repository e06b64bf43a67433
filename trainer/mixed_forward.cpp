#include "trainer/mixed_forward.h"

namespace chorus {
namespace {

/// Mixes at a layer drawn from the input, each stage and the embedding.
Outcome mix_at_random_layer(MobileNetV3& network, const Batch& batch, const PairMix& mix, Random& random) {
    const int stages = network->stages();
    const int layer = static_cast<int>(random.below(static_cast<std::size_t>(stages) + 2));
    if (layer > stages)
        return {network->classify(mix_hidden(network->embed(batch.input), mix)), mix_targets(batch.targets, mix)};
    const auto hidden = mix_hidden(network->run_stages(batch.input, 0, layer), mix);
    return {network->classify(network->pool(network->run_stages(hidden, layer, stages))),
            mix_targets(batch.targets, mix)};
}

}  // namespace

torch::Tensor embed(MobileNetV3& network, const torch::Tensor& input, Freeze freeze) {
    return freeze == Freeze::kEmbeddings ? input : network->embed(input);
}

Outcome mixed_forward(MobileNetV3& network, const Batch& batch, const TrainingOptions& options, Mixing mixing,
                      Random& random) {
    const auto& parameters = options.mixing;
    const bool has_windows = options.freeze != Freeze::kEmbeddings;
    const auto size = batch.input.size(0);
    if (mixing == Mixing::kMixup && !has_windows) mixing = Mixing::kManifoldMixup;
    switch (mixing) {
        case Mixing::kMixup: {
            const auto mix = draw_pair_mix(parameters, mixing, size, batch.input.size(2), random);
            return {network->forward(mix_inputs(batch.input, mix, parameters.semantics)),
                    mix_targets(batch.targets, mix)};
        }
        case Mixing::kManifoldMixup: {
            const auto mix = draw_pair_mix(parameters, mixing, size, 0, random);
            if (parameters.manifold_layer == ManifoldLayer::kRandom && has_windows)
                return mix_at_random_layer(network, batch, mix, random);
            return {network->classify(mix_hidden(embed(network, batch.input, options.freeze), mix)),
                    mix_targets(batch.targets, mix)};
        }
        case Mixing::kMultiMix: {
            const auto rows = parameters.multimix_samples > 0 ? parameters.multimix_samples : size;
            const auto weights = draw_dirichlet(rows, size, parameters.dirichlet_alpha, random);
            return {network->classify(weights.matmul(embed(network, batch.input, options.freeze))),
                    weights.matmul(batch.targets)};
        }
        case Mixing::kNone:
            break;
    }
    return {network->classify(embed(network, batch.input, options.freeze)), batch.targets};
}

}  // namespace chorus
