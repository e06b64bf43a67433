#pragma once
// Mix2 (arXiv 2403.09598): each step mixes the batch in one of several ways, drawn by their shares; Mix2's are 25 %
// mixup, 50 % manifold mixup, 25 % MultiMix.
//   mixup           x' = l x + (1 - l) x[partner] at the input,          y' alike   (arXiv 1710.09412)
//   manifold mixup  z' = l z + (1 - l) z[partner] in or after the network, y' alike (arXiv 1806.05236)
//   MultiMix        z' = L z, y' = L y, rows of L from a Dirichlet distribution (arXiv 2206.14868)
// All functions are pure: chance is drawn first, then applied.

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <string_view>

#include "trainer/random.h"

namespace chorus {

/// What one step does.
enum class Mixing { kNone, kMixup, kManifoldMixup, kMultiMix };

/// How often a step that mixes does each, relative to their sum. All 0: none ever mixes.
struct MixingShares {
    double mixup = 0.25;
    double manifold = 0.5;
    double multimix = 0.25;

    bool operator==(const MixingShares&) const = default;
};

enum class MixingSemantics {
    kPaper,      // lambda per sample, the same in input and target
    kReference,  // as the authors' released code: input mixup weighs mel rows, shared by the batch; targets are mixed
                 // by the mean lambda of the batch
};

enum class ManifoldLayer {
    kEmbedding,  // as Mix2's released code
    kRandom,     // drawn each step from the input, every stage of the network and the embedding, as in its own paper
};

struct MixingParameters {
    MixingShares shares;
    double step_share = 0.5;  // of the steps that mix; the others learn from clips as they are
    MixingSemantics semantics = MixingSemantics::kPaper;
    ManifoldLayer manifold_layer = ManifoldLayer::kRandom;
    double mixup_alpha = 1.0;      // lambda ~ Beta(alpha, alpha)
    double manifold_alpha = 1.0;   // the same for manifold mixup
    double dirichlet_alpha = 0.2;  // MultiMix's concentration
    int multimix_samples = 0;      // mixed samples a step makes; 0: as many as the batch has
    int plain_epochs_first = 5;    // epochs before any mixing: a network that knows nothing yet learns slowly by it
    int plain_epochs_last = 0;     // epochs without mixing at the end

    bool operator==(const MixingParameters&) const = default;
};

/// "none", "mixup", "manifold" or "multimix", several joined by '+', or "mix2" for all three: the shares of those named
/// are Mix2's. Nothing for an unknown or repeated name.
std::optional<MixingShares> parse_method(std::string_view name);
std::string to_string(Mixing mixing);              // "none", "mixup", "manifold", "multimix"
std::string to_string(MixingSemantics semantics);  // "paper", "reference"
std::string to_string(ManifoldLayer layer);        // "embedding", "random"

/// Whether this epoch, from 0, of so many mixes at all.
bool mixes_in(const MixingParameters& parameters, int epoch, int epochs);

/// What one step does. Draws once, whatever the shares.
Mixing draw_mixing(const MixingParameters& parameters, Random& random);

/// Lambdas and partners of mixup and manifold mixup.
struct PairMix {
    at::Tensor lambda;         // [batch], or [mels] for input mixup under kReference
    at::Tensor partner;        // int64 [batch], a permutation
    at::Tensor target_lambda;  // [batch]
};

/// mixing: kMixup or kManifoldMixup.
PairMix draw_pair_mix(const MixingParameters& parameters, Mixing mixing, std::int64_t batch, std::int64_t mels,
                      Random& random);

/// input: [batch, 1, mel, frame].
at::Tensor mix_inputs(const at::Tensor& input, const PairMix& mix, MixingSemantics semantics);
/// What the network made of it, at any layer: [batch, ...].
at::Tensor mix_hidden(const at::Tensor& hidden, const PairMix& mix);
/// targets: [batch, classes].
at::Tensor mix_targets(const at::Tensor& targets, const PairMix& mix);

/// Rows of Dirichlet(alpha, ..., alpha): [rows, columns], non-negative, each row adds up to 1. MultiMix multiplies
/// embeddings and targets by it.
at::Tensor draw_dirichlet(std::int64_t rows, std::int64_t columns, double alpha, Random& random);

}  // namespace chorus
