#include "model/scoring_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "model/aligned_floats.h"
#include "model/float_arena.h"
#include "model/mobilenet_v3_layers.h"
#include "model/network_kernels.h"

namespace chorus {
namespace {

using Floats = AlignedFloats;

std::size_t area(int height, int width) {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
}

int rounded_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// A convolution's or linear layer's weights [out, in] (in: its input channels and taps together) and bias [out].
struct Weights {
    int out;
    int in;
    std::vector<float> values;
    std::vector<float> bias;
};

/// Hands out a bundle's tensors by name, checked, and knows which ones were asked for.
class TensorReader {
  public:
    explicit TensorReader(const std::map<std::string, StoredTensor>& tensors) : tensors_(tensors) {}

    std::vector<float> read(const std::string& name, const std::vector<std::int64_t>& shape) {
        const auto& tensor = find(name, shape);
        if (tensor.type == TensorType::kInt64) {
            throw std::runtime_error(fmt::format("tensor {} is int64, the network wants a float", name));
        }
        auto values = to_float32(tensor);
        std::size_t count = 1;
        for (const auto size : shape) count *= static_cast<std::size_t>(size);
        if (values.size() != count) {
            throw std::runtime_error(fmt::format("tensor {} holds {} values", name, values.size()));
        }
        return values;
    }

    /// Convolution `name`.0 and the batch normalisation `name`.1 behind it, as one convolution.
    Weights read_folded(const std::string& name, int out, int in, int kernel) {
        Weights weights{.out = out, .in = in * kernel * kernel, .values = {}, .bias = {}};
        weights.values = read(name + ".0.weight", {out, in, kernel, kernel});
        const auto gamma = read(name + ".1.weight", {out});
        const auto beta = read(name + ".1.bias", {out});
        const auto mean = read(name + ".1.running_mean", {out});
        const auto variance = read(name + ".1.running_var", {out});
        const auto& batches = find(name + ".1.num_batches_tracked", {});
        if (batches.type != TensorType::kInt64) {
            throw std::runtime_error(
                fmt::format("tensor {}.1.num_batches_tracked is a float, the network wants int64", name));
        }
        const auto taps = static_cast<std::size_t>(weights.in);
        for (std::size_t o = 0; o < static_cast<std::size_t>(out); ++o) {
            const double scale = gamma[o] / std::sqrt(variance[o] + kBatchNormEpsilon);
            for (std::size_t i = o * taps; i < (o + 1) * taps; ++i) {
                weights.values[i] = static_cast<float>(weights.values[i] * scale);
            }
            weights.bias.push_back(static_cast<float>(beta[o] - mean[o] * scale));
        }
        return weights;
    }

    /// Weights and bias of a plain layer; `trailing` are the dimensions of size 1 behind [out, in].
    Weights read_plain(const std::string& name, int out, int in, int trailing) {
        std::vector<std::int64_t> shape{out, in};
        shape.insert(shape.end(), static_cast<std::size_t>(trailing), 1);
        return {.out = out, .in = in, .values = read(name + ".weight", shape), .bias = read(name + ".bias", {out})};
    }

    /// Throws where a tensor was never asked for.
    void expect_all_read() const {
        for (const auto& [name, tensor] : tensors_) {
            if (!known_.contains(name)) {
                throw std::runtime_error(fmt::format("tensor {} is unknown to the network", name));
            }
        }
    }

  private:
    const StoredTensor& find(const std::string& name, const std::vector<std::int64_t>& shape) {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) throw std::runtime_error(fmt::format("tensor {} is missing", name));
        known_.insert(name);
        if (found->second.shape != shape) {
            throw std::runtime_error(fmt::format("tensor {} has shape [{}], the network wants [{}]", name,
                                                 fmt::join(found->second.shape, ", "), fmt::join(shape, ", ")));
        }
        return found->second;
    }

    const std::map<std::string, StoredTensor>& tensors_;
    std::set<std::string> known_;
};

class Pointwise {
  public:
    Pointwise(const Weights& from, Activation activation, FloatArena& memory) {
        const int out = rounded_up(from.out, kChannelBlock);
        const auto bias = memory.take(static_cast<std::size_t>(out));
        std::ranges::copy(from.bias, bias.begin());
        const auto weights = memory.take(area(from.in, out));
        float* to = weights.data();
        for (int column = 0; column < out;) {
            const int columns = panel_columns(out - column);
            for (int i = 0; i < from.in; ++i) {
                for (int o = column; o < column + columns; ++o, ++to) {
                    if (o < from.out) *to = from.values[area(o, from.in) + static_cast<std::size_t>(i)];
                }
            }
            column += columns;
        }
        layer_ = {
            .in = from.in, .out = out, .activation = activation, .weights = weights.data(), .bias = bias.data()};
    }

    int out() const { return layer_.out; }

    void operator()(const float* in, int pixels, const float* residual, float* out) const {
        kernels_of_this_machine().pointwise(layer_, in, pixels, residual, out);
    }

  private:
    PointwiseLayer layer_;
};

class Depthwise {
  public:
    Depthwise(const Weights& from, const BlockOptions& options, FloatArena& memory) {
        const auto bias = memory.take(from.bias.size());
        std::ranges::copy(from.bias, bias.begin());
        const auto weights = memory.take(from.values.size());
        float* to = weights.data();
        for (int block = 0; block < from.out; block += kChannelBlock) {
            for (int tap = 0; tap < from.in; ++tap) {
                for (int c = block; c < block + kChannelBlock; ++c, ++to) {
                    *to = from.values[area(c, from.in) + static_cast<std::size_t>(tap)];
                }
            }
        }
        layer_ = {.channels = options.expanded,
                  .kernel = options.kernel,
                  .stride = options.stride,
                  .activation = options.activation,
                  .weights = weights.data(),
                  .bias = bias.data()};
    }

    void operator()(const float* const* rows, int width_in, int width_out, float* sums, float* out) const {
        kernels_of_this_machine().depthwise_row(layer_, rows, width_in, width_out, sums, out);
    }

  private:
    DepthwiseLayer layer_;
};

struct Squeeze {
    Pointwise reduce;
    Pointwise gate;
};

/// The buffers of one block's inside.
struct BlockBuffers {
    Floats expanded;   // rows of the strip at work
    Floats depthwise;  // of the strip; with squeeze and excitation of the whole window
    Floats sums;
    Floats reduced;
    Floats gates;
};

class Block {
  public:
    Block(TensorReader& tensors, FloatArena& memory, const std::string& name, const BlockOptions& options, int height,
          int width)
        : options_(options), height_in_(height), width_in_(width) {
        int at = 0;
        const auto next = [&] { return fmt::format("{}.block.{}", name, at++); };
        if (options.expanded != options.in) {
            expand_.emplace(tensors.read_folded(next(), options.expanded, options.in, 1), options.activation, memory);
        }
        depthwise_.emplace(tensors.read_folded(next(), options.expanded, 1, options.kernel), options, memory);
        if (options.squeeze) {
            const auto inside = next();
            const int squeezed = squeezed_channels(options.expanded);
            squeeze_.emplace(
                Squeeze{.reduce = {tensors.read_plain(inside + ".fc1", squeezed, options.expanded, 2),
                                   Activation::kRelu, memory},
                        .gate = {tensors.read_plain(inside + ".fc2", options.expanded, squeezed, 2),
                                 Activation::kHardsigmoid, memory}});
        }
        project_.emplace(tensors.read_folded(next(), options.out, options.expanded, 1), Activation::kNone, memory);

        // As many rows at a time as leave the block's inside in the second-level cache.
        constexpr std::size_t kStripFloats = 256 * 1024 / sizeof(float);
        strip_ = height_out();
        while (strip_ > 1 && strip_size(strip_) > kStripFloats) --strip_;
    }

    int height_out() const { return (height_in_ + options_.stride - 1) / options_.stride; }
    int width_out() const { return (width_in_ + options_.stride - 1) / options_.stride; }
    std::size_t output_size() const { return area(height_out(), width_out()) * channels(options_.out); }

    void fit(BlockBuffers& sizes, auto grow) const {
        if (expand_) grow(sizes.expanded, area(rows_in(strip_), width_in_) * expanded());
        grow(sizes.depthwise, area(squeeze_ ? height_out() : strip_, width_out()) * expanded());
        grow(sizes.sums, expanded());
        grow(sizes.gates, expanded());
        if (squeeze_) grow(sizes.reduced, channels(squeeze_->reduce.out()));
    }

    void operator()(const float* in, const BlockBuffers& buffers, float* out) const {
        const int pad = options_.kernel / 2;
        const std::size_t row_in = channels(width_in_) * expanded();
        const std::size_t row_out = channels(width_out()) * expanded();
        const float* const residual = options_.residual() ? in : nullptr;
        float* const sums = squeeze_ ? buffers.sums.data() : nullptr;
        if (sums != nullptr) std::fill_n(sums, expanded(), 0.0F);

        // Row r of the expanded input is at r modulo kept_rows: the strip at work needs no more of them.
        const float* const expanded_rows = expand_ ? buffers.expanded.data() : in;
        const int kept_rows = expand_ ? rows_in(strip_) : height_in_;
        int end_row = 0;  // of those expanded so far
        for (int y = 0; y < height_out(); y += strip_) {
            const int count = std::min(strip_, height_out() - y);
            if (expand_) {
                const int end_needed = std::min(height_in_, (y + count - 1) * options_.stride - pad + options_.kernel);
                end_row = std::max(end_row, y * options_.stride - pad);
                while (end_row < end_needed) {
                    const int place = end_row % kept_rows;
                    const int rows = std::min(end_needed - end_row, kept_rows - place);
                    (*expand_)(in + area(end_row, width_in_) * channels(options_.in), rows * width_in_, nullptr,
                               buffers.expanded.data() + channels(place) * row_in);
                    end_row += rows;
                }
            }
            float* const strip = buffers.depthwise.data() + (squeeze_ ? channels(y) * row_out : 0);
            for (int i = 0; i < count; ++i) {
                std::array<const float*, 5> rows{};
                for (int k = 0; k < options_.kernel; ++k) {
                    const int row = (y + i) * options_.stride - pad + k;
                    if (row >= 0 && row < height_in_) {
                        rows[static_cast<std::size_t>(k)] = expanded_rows + channels(row % kept_rows) * row_in;
                    }
                }
                (*depthwise_)(rows.data(), width_in_, width_out(), sums, strip + channels(i) * row_out);
            }
            if (!squeeze_) {
                const std::size_t done = area(y, width_out()) * channels(options_.out);
                (*project_)(strip, count * width_out(), residual != nullptr ? residual + done : nullptr, out + done);
            }
        }
        if (!squeeze_) return;

        const int pixels = height_out() * width_out();
        for (std::size_t c = 0; c < expanded(); ++c) sums[c] /= static_cast<float>(pixels);
        squeeze_->reduce(sums, 1, nullptr, buffers.reduced.data());
        squeeze_->gate(buffers.reduced.data(), 1, nullptr, buffers.gates.data());
        kernels_of_this_machine().scale(buffers.depthwise.data(), pixels, options_.expanded, buffers.gates.data());
        (*project_)(buffers.depthwise.data(), pixels, residual, out);
    }

  private:
    static std::size_t channels(int count) { return static_cast<std::size_t>(count); }
    std::size_t expanded() const { return channels(options_.expanded); }

    /// Input rows that `rows` output rows see.
    int rows_in(int rows) const { return std::min(height_in_, (rows - 1) * options_.stride + options_.kernel); }

    std::size_t strip_size(int rows) const {
        return (area(rows_in(rows), width_in_) + area(rows, width_out())) * expanded();
    }

    BlockOptions options_;
    int height_in_;
    int width_in_;
    int strip_ = 1;  // output rows at a time
    std::optional<Pointwise> expand_;
    std::optional<Depthwise> depthwise_;
    std::optional<Squeeze> squeeze_;
    std::optional<Pointwise> project_;
};

}  // namespace

struct ScoringNetwork::Scratch::Buffers {
    Floats padded;  // the window, one row above and below, one column on the left and two on the right
    Floats activations[2];
    BlockBuffers block;
    Floats features;  // of the last convolution
    Floats mean;      // of one frame of them
    Floats largest;
    Floats embedding;
    Floats logits;
};

struct ScoringNetwork::Layers {
    int mels;
    int frames;
    FloatArena memory;
    Weights stem;
    std::span<float> stem_weights;
    std::vector<Block> blocks;
    std::optional<Pointwise> last;
    std::optional<Pointwise> head;

    Layers(Architecture architecture, int classes, TensorReader tensors, int mel_count, int frame_count)
        : mels(mel_count), frames(frame_count) {
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
            blocks.emplace_back(tensors, memory, fmt::format("features.{}", blocks.size() + 1), block, height, width);
            height = blocks.back().height_out();
            width = blocks.back().width_out();
        }
        const int embedding = embedding_size_of(architecture);
        last.emplace(tensors.read_folded(fmt::format("features.{}", blocks.size() + 1), embedding, options.back().out, 1),
                     Activation::kHardswish, memory);
        head.emplace(tensors.read_plain("head", classes, embedding, 0), Activation::kNone, memory);
        tensors.expect_all_read();
    }

    int stem_height() const { return (mels + 1) / 2; }
    int stem_width() const { return (frames + 1) / 2; }
    int padded_width() const { return frames + 3; }

    void run_stem(std::span<const float> features, const Floats& padded, float* out) const {
        const auto stride = static_cast<std::size_t>(padded_width());
        const auto width = static_cast<std::size_t>(frames);
        for (std::size_t mel = 0; mel < static_cast<std::size_t>(mels); ++mel) {
            std::ranges::copy(features.subspan(mel * width, width), padded.data() + (mel + 1) * stride + 1);
        }
        const StemLayer layer{.channels = stem.out, .weights = stem_weights.data(), .bias = stem.bias.data()};
        for (int y = 0; y < stem_height(); ++y) {
            kernels_of_this_machine().stem_row(layer, padded.data() + area(2 * y, padded_width()), padded_width(),
                                               stem_width(), out + area(y, stem_width() * stem.out));
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
                               const std::map<std::string, StoredTensor>& tensors, int mels, int frames)
    : classes_(classes) {
    if (classes < 1 || mels < 1 || frames < 1) throw std::invalid_argument("a network needs classes and a window");
    layers_ = std::make_unique<const Layers>(architecture, classes, TensorReader(tensors), mels, frames);
}

ScoringNetwork::~ScoringNetwork() = default;

ScoringNetwork::Scratch::Scratch(const ScoringNetwork& network) : buffers_(std::make_unique<Buffers>()) {
    const auto& layers = *network.layers_;
    auto& buffers = *buffers_;
    const auto grow = [](Floats& floats, std::size_t wanted) {
        if (floats.size() < wanted) floats = Floats(wanted);
    };
    grow(buffers.padded, area(2 * layers.stem_height() + 1, layers.padded_width()));
    const auto stem_size = area(layers.stem_height(), layers.stem_width() * layers.stem.out);
    for (auto& activations : buffers.activations) grow(activations, stem_size);
    for (const auto& block : layers.blocks) {
        block.fit(buffers.block, grow);
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

void ScoringNetwork::score(std::span<const float> features, std::span<float> scores, Scratch& scratch) const {
    const auto& layers = *layers_;
    const auto& buffers = *scratch.buffers_;
    if (features.size() != window_size()) {
        throw std::invalid_argument("a window does not have the network's size");
    }
    if (scores.size() != static_cast<std::size_t>(classes_)) throw std::invalid_argument("no room for the scores");

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
    (*layers.head)(buffers.embedding.data(), 1, nullptr, buffers.logits.data());
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = 1 / (1 + std::exp(-buffers.logits[i]));
}

std::size_t ScoringNetwork::window_size() const {
    return area(layers_->mels, layers_->frames);
}

std::string ScoringNetwork::instructions() {
    return kernels_of_this_machine().instructions;
}

}  // namespace chorus
