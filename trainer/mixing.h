#pragma once
// Mix2 (arXiv 2403.09598): each step mixes the batch in one of three ways, drawn 25 % mixup, 50 % manifold mixup,
// 25 % MultiMix.
//   mixup           x' = l x + (1 - l) x[partner] at the input,      y' alike   (arXiv 1710.09412)
//   manifold mixup  z' = l z + (1 - l) z[partner] at the embedding,  y' alike   (arXiv 1806.05236)
//   MultiMix        z' = L z, y' = L y, rows of L from a Dirichlet distribution (arXiv 2206.14868)
// All functions are pure: chance is drawn first, then applied.

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <string_view>

#include "trainer/random.h"

namespace chorus {

enum class Mixing { kNone, kMixup, kManifoldMixup, kMultiMix, kMix2 };

enum class MixingSemantics {
    kPaper,      // lambda per sample, the same in input and target
    kReference,  // as the authors' released code: input mixup weighs mel rows, shared by the batch; targets are mixed
                 // by the mean lambda of the batch
};

struct MixingParameters {
    Mixing mixing = Mixing::kMix2;
    MixingSemantics semantics = MixingSemantics::kPaper;
    double mixup_alpha = 1.0;      // lambda ~ Beta(alpha, alpha)
    double dirichlet_alpha = 0.2;  // MultiMix's concentration; it makes as many mixed samples as the batch has
};

std::string to_string(Mixing mixing);              // "none", "mixup", "manifold", "multimix", "mix2"
std::string to_string(MixingSemantics semantics);  // "paper", "reference"
/// Nothing for an unknown name.
std::optional<Mixing> parse_mixing(std::string_view name);
std::optional<MixingSemantics> parse_semantics(std::string_view name);

/// What one step does: never kMix2.
Mixing draw_mixing(Mixing mixing, Random& random);

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
/// embedding: [batch, channels].
at::Tensor mix_embeddings(const at::Tensor& embedding, const PairMix& mix);
/// targets: [batch, classes].
at::Tensor mix_targets(const at::Tensor& targets, const PairMix& mix);

/// Rows of Dirichlet(alpha, ..., alpha): [rows, columns], non-negative, each row adds up to 1. MultiMix multiplies
/// embeddings and targets by it.
at::Tensor draw_dirichlet(std::int64_t rows, std::int64_t columns, double alpha, Random& random);

}  // namespace chorus
