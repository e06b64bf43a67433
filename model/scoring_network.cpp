#include "model/scoring_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "model/scoring_layers.h"

namespace chorus {
namespace {

std::size_t area(int height, int width) {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
}

}  // namespace

struct ScoringNetwork::Scratch::Buffers {
    AlignedFloats padded;  // the window, one row above and below, one column on the left and two on the right
    AlignedFloats activations[2];
    BlockBuffers block;
    AlignedFloats features;  // of the last convolution
    AlignedFloats mean;      // of one frame of them
    AlignedFloats largest;
    AlignedFloats embedding;
    AlignedFloats logits;
};

struct ScoringNetwork::Layers {
    const Kernels& kernels;
    int mels;
    int frames;
    FloatArena memory;
    Weights stem;
    std::span<float> stem_weights;
    std::vector<Block> blocks;
    std::optional<Pointwise> last;
    std::optional<Pointwise> head;

    Layers(Architecture architecture, int classes, TensorReader tensors, int mel_count, int frame_count,
           const Kernels& chosen)
        : kernels(chosen), mels(mel_count), frames(frame_count) {
        const LayerPlace place{.kernels = kernels, .memory = memory};
        const auto options = blocks_of(architecture);
        stem = tensors.read_folded("features.0", options.front().in, 1, 3);
        stem_weights = memory.take(stem.values.size());
        for (int tap = 0; tap < 9; ++tap) {
            for (int c = 0; c < stem.out; ++c) {
                stem_weights[area(tap, stem.out) + static_cast<std::size_t>(c)] =
                    stem.values[area(c, 9) + static_cast<std::size_t>(tap)];
            }
        }
        int height = stem_height();
        int width = stem_width();
        for (const auto& block : options) {
            blocks.emplace_back(tensors, place, fmt::format("features.{}", blocks.size() + 1), block, height, width);
            height = blocks.back().height_out();
            width = blocks.back().width_out();
        }
        const int embedding = embedding_size_of(architecture);
        last.emplace(
            tensors.read_folded(fmt::format("features.{}", blocks.size() + 1), embedding, options.back().out, 1),
            Activation::kHardswish, place);
        head.emplace(tensors.read_plain("head", classes, embedding, 0), Activation::kNone, place);
        tensors.expect_all_read();
    }

    int stem_height() const { return (mels + 1) / 2; }
    int stem_width() const { return (frames + 1) / 2; }
    int padded_width() const { return frames + 3; }

    void run_stem(std::span<const float> features, const AlignedFloats& padded, float* out) const {
        const auto stride = static_cast<std::size_t>(padded_width());
        const auto width = static_cast<std::size_t>(frames);
        for (std::size_t mel = 0; mel < static_cast<std::size_t>(mels); ++mel) {
            std::ranges::copy(features.subspan(mel * width, width), padded.data() + (mel + 1) * stride + 1);
        }
        const StemLayer layer{.channels = stem.out, .weights = stem_weights.data(), .bias = stem.bias.data()};
        for (int y = 0; y < stem_height(); ++y) {
            kernels.stem_row(layer, padded.data() + area(2 * y, padded_width()), padded_width(), stem_width(),
                             out + area(y, stem_width() * stem.out));
        }
    }

    /// Mean over frequency, then the largest over time plus the mean over time. features: [mel, frame, channel].
    void pool(const float* features, float* mean, float* largest, float* embedding) const {
        const int height = blocks.back().height_out();
        const int width = blocks.back().width_out();
        const auto channels = static_cast<std::size_t>(last->out());
        std::fill_n(largest, channels, -std::numeric_limits<float>::infinity());
        std::fill_n(embedding, channels, 0.0F);
        for (int x = 0; x < width; ++x) {
            std::fill_n(mean, channels, 0.0F);
            for (int y = 0; y < height; ++y) {
                const float* const pixel = features + area(y * width + x, last->out());
                for (std::size_t c = 0; c < channels; ++c) mean[c] += pixel[c];
            }
            for (std::size_t c = 0; c < channels; ++c) {
                mean[c] /= static_cast<float>(height);
                largest[c] = std::max(largest[c], mean[c]);
                embedding[c] += mean[c];
            }
        }
        for (std::size_t c = 0; c < channels; ++c) {
            embedding[c] = largest[c] + embedding[c] / static_cast<float>(width);
        }
    }
};

ScoringNetwork::ScoringNetwork(Architecture architecture, int classes,
                               const std::map<std::string, StoredTensor>& tensors, int mels, int frames,
                               Precision precision)
    : ScoringNetwork(architecture, classes, tensors, mels, frames, kernels_of_this_machine(precision)) {}

ScoringNetwork::ScoringNetwork(Architecture architecture, int classes,
                               const std::map<std::string, StoredTensor>& tensors, int mels, int frames,
                               const Kernels& kernels)
    : classes_(classes) {
    if (classes < 1 || mels < 1 || frames < 1) throw std::invalid_argument("a network needs classes and a window");
    layers_ = std::make_unique<const Layers>(architecture, classes, TensorReader(tensors), mels, frames, kernels);
}

ScoringNetwork::~ScoringNetwork() = default;

ScoringNetwork::Scratch::Scratch(const ScoringNetwork& network) : buffers_(std::make_unique<Buffers>()) {
    const auto& layers = *network.layers_;
    auto& buffers = *buffers_;
    grow(buffers.padded, area(2 * layers.stem_height() + 1, layers.padded_width()));
    const auto stem_size = area(layers.stem_height(), layers.stem_width() * layers.stem.out);
    for (auto& activations : buffers.activations) grow(activations, stem_size);
    for (const auto& block : layers.blocks) {
        block.fit(buffers.block);
        for (auto& activations : buffers.activations) grow(activations, block.output_size());
    }
    const auto channels = static_cast<std::size_t>(layers.last->out());
    const auto& block = layers.blocks.back();
    grow(buffers.features, area(block.height_out(), block.width_out()) * channels);
    for (auto* floats : {&buffers.mean, &buffers.largest, &buffers.embedding}) grow(*floats, channels);
    grow(buffers.logits, static_cast<std::size_t>(layers.head->out()));
}

ScoringNetwork::Scratch::~Scratch() = default;
ScoringNetwork::Scratch::Scratch(Scratch&&) noexcept = default;

void ScoringNetwork::run(std::span<const float> features, Scratch& scratch) const {
    const auto& layers = *layers_;
    const auto& buffers = *scratch.buffers_;
    if (features.size() != window_size()) {
        throw std::invalid_argument("a window does not have the network's size");
    }
    float* in = buffers.activations[0].data();
    float* out = buffers.activations[1].data();
    layers.run_stem(features, buffers.padded, in);
    for (const auto& block : layers.blocks) {
        block(in, buffers.block, out);
        std::swap(in, out);
    }
    const auto& block = layers.blocks.back();
    (*layers.last)(in, block.height_out() * block.width_out(), nullptr, buffers.features.data());
    layers.pool(buffers.features.data(), buffers.mean.data(), buffers.largest.data(), buffers.embedding.data());
}

void ScoringNetwork::score(std::span<const float> features, std::span<float> scores, Scratch& scratch) const {
    if (scores.size() != static_cast<std::size_t>(classes_)) throw std::invalid_argument("no room for the scores");
    run(features, scratch);
    const auto& buffers = *scratch.buffers_;
    (*layers_->head)(buffers.embedding.data(), 1, nullptr, buffers.logits.data());
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = 1 / (1 + std::exp(-buffers.logits[i]));
}

void ScoringNetwork::embed(std::span<const float> features, std::span<float> embedding, Scratch& scratch) const {
    if (embedding.size() != embedding_size()) throw std::invalid_argument("no room for the embedding");
    run(features, scratch);
    std::copy_n(scratch.buffers_->embedding.data(), embedding.size(), embedding.data());
}

std::size_t ScoringNetwork::window_size() const {
    return area(layers_->mels, layers_->frames);
}

std::size_t ScoringNetwork::embedding_size() const {
    return static_cast<std::size_t>(layers_->last->out());
}

std::string ScoringNetwork::instructions() const {
    return layers_->kernels.instructions;
}

}  // namespace chorus
