#pragma once
// The network of mobilenet_v3.h for scoring alone, on the CPU and without LibTorch: batch normalisation folded,
// weights laid out once for the vector units, each block computed a few rows at a time so that what lies between its
// layers stays in the cache. Scores equal those of the plain network in float32 to 1e-4; with Precision::kBfloat16 they
// differ by what its rounding does.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "model/classifier.h"

namespace chorus {

struct Kernels;

/// Const after construction and shared by any number of threads, each with a Scratch of its own.
class ScoringNetwork {
  public:
    /// For windows [mels, frames]. Throws std::runtime_error naming the first tensor that is missing, unknown, or of
    /// the wrong shape or type, or that the processor lacks what `precision` needs.
    ScoringNetwork(Architecture architecture, int classes, const std::map<std::string, StoredTensor>& tensors, int mels,
                   int frames, Precision precision = Precision::kFloat32);
    /// With these kernels, which this machine can run.
    ScoringNetwork(Architecture architecture, int classes, const std::map<std::string, StoredTensor>& tensors, int mels,
                   int frames, const Kernels& kernels);
    ~ScoringNetwork();
    ScoringNetwork(const ScoringNetwork&) = delete;
    ScoringNetwork& operator=(const ScoringNetwork&) = delete;

    /// What one thread needs to score: a few MiB, allocated once.
    class Scratch {
      public:
        explicit Scratch(const ScoringNetwork& network);
        ~Scratch();
        Scratch(Scratch&&) noexcept;

      private:
        friend class ScoringNetwork;
        struct Buffers;
        std::unique_ptr<Buffers> buffers_;
    };

    /// features: [mels, frames]; scores: [classes], each in 0..1. Allocates nothing. Throws std::invalid_argument where
    /// a size is wrong.
    void score(std::span<const float> features, std::span<float> scores, Scratch& scratch) const;

    /// What its head sees: embedding: [embedding_size()]. As score() does.
    void embed(std::span<const float> features, std::span<float> embedding, Scratch& scratch) const;

    int classes() const { return classes_; }
    std::size_t window_size() const;     // mels * frames
    std::size_t embedding_size() const;  // 960 (large), 576 (small)
    /// The instruction set it uses, in words.
    std::string instructions() const;

  private:
    struct Layers;
    /// To the embedding, which stays in the scratch.
    void run(std::span<const float> features, Scratch& scratch) const;

    int classes_;
    std::unique_ptr<const Layers> layers_;
};

}  // namespace chorus
