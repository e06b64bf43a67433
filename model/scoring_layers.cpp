#include "model/scoring_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

namespace chorus {
namespace {

std::size_t channels(int count) {
    return static_cast<std::size_t>(count);
}

std::size_t area(int height, int width) {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
}

/// Channels with those of zeros behind them that fill the last vector.
int padded(int channels, const Kernels& kernels) {
    return (channels + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
}

}  // namespace

void grow(AlignedFloats& floats, std::size_t wanted) {
    if (floats.size() < wanted) floats = AlignedFloats(wanted);
}

Pointwise::Pointwise(const Weights& from, Activation activation, const LayerPlace& place) : kernels_(place.kernels) {
    const int out = padded(from.out, kernels_);
    const auto bias = place.memory.take(static_cast<std::size_t>(out));
    std::ranges::copy(from.bias, bias.begin());
    // Two input channels take the place of one in bfloat16.
    const int together = kernels_.precision == Precision::kBfloat16 ? 2 : 1;
    const auto weights = place.memory.take(area((from.in + together - 1) / together, out));
    float* to = weights.data();
    for (int column = 0; column < out;) {
        const int columns = kernels_.lanes * panel_vectors((out - column) / kernels_.lanes);
        for (int i = 0; i < from.in; i += together) {
            for (int o = column; o < column + columns; ++o, ++to) {
                if (o >= from.out) continue;
                const float* const value = &from.values[area(o, from.in) + static_cast<std::size_t>(i)];
                if (together == 1) {
                    *to = *value;
                } else {
                    const std::uint32_t second = i + 1 < from.in ? to_bfloat16(value[1]) : 0U;
                    *to = std::bit_cast<float>(second << 16 | to_bfloat16(*value));
                }
            }
        }
        column += columns;
    }
    layer_ = {.in = from.in,
              .in_stride = padded(from.in, kernels_),
              .out = out,
              .activation = activation,
              .weights = weights.data(),
              .bias = bias.data()};
}

Depthwise::Depthwise(const Weights& from, const BlockOptions& options, const LayerPlace& place)
    : kernels_(place.kernels) {
    const int lanes = kernels_.lanes;
    const int channels = padded(from.out, kernels_);
    const auto bias = place.memory.take(static_cast<std::size_t>(channels));
    std::ranges::copy(from.bias, bias.begin());
    const auto weights = place.memory.take(area(channels, from.in));
    float* to = weights.data();
    for (int block = 0; block < channels; block += lanes) {
        for (int tap = 0; tap < from.in; ++tap) {
            for (int c = block; c < block + lanes; ++c, ++to) {
                if (c < from.out) *to = from.values[area(c, from.in) + static_cast<std::size_t>(tap)];
            }
        }
    }
    layer_ = {.channels = channels,
              .kernel = options.kernel,
              .stride = options.stride,
              .activation = options.activation,
              .weights = weights.data(),
              .bias = bias.data()};
}

Block::Block(TensorReader& tensors, const LayerPlace& place, const std::string& name, const BlockOptions& options,
             int height, int width)
    : kernels_(place.kernels),
      options_(options),
      in_(channels(padded(options.in, kernels_))),
      expanded_(channels(padded(options.expanded, kernels_))),
      out_(channels(padded(options.out, kernels_))),
      height_in_(height),
      width_in_(width) {
    int at = 0;
    const auto next = [&] { return fmt::format("{}.block.{}", name, at++); };
    if (options.expanded != options.in) {
        expand_.emplace(tensors.read_folded(next(), options.expanded, options.in, 1), options.activation, place);
    }
    depthwise_.emplace(tensors.read_folded(next(), options.expanded, 1, options.kernel), options, place);
    if (options.squeeze) {
        const auto inside = next();
        const int squeezed = squeezed_channels(options.expanded);
        squeeze_.emplace(Squeeze{
            .reduce = {tensors.read_plain(inside + ".fc1", squeezed, options.expanded, 2), Activation::kRelu, place},
            .gate = {tensors.read_plain(inside + ".fc2", options.expanded, squeezed, 2), Activation::kHardsigmoid,
                     place}});
    }
    project_.emplace(tensors.read_folded(next(), options.out, options.expanded, 1), Activation::kNone, place);

    // As many rows at a time as leave the block's inside in the second-level cache.
    constexpr std::size_t kStripFloats = 256 * 1024 / sizeof(float);
    strip_ = height_out();
    while (strip_ > 1 && strip_size(strip_) > kStripFloats) --strip_;
}

std::size_t Block::output_size() const {
    return area(height_out(), width_out()) * out_;
}

int Block::rows_in(int rows) const {
    return std::min(height_in_, (rows - 1) * options_.stride + options_.kernel);
}

std::size_t Block::strip_size(int rows) const {
    return (area(rows_in(rows), width_in_) + area(rows, width_out())) * expanded_;
}

void Block::fit(BlockBuffers& buffers) const {
    if (expand_) grow(buffers.expanded, area(rows_in(strip_), width_in_) * expanded_);
    grow(buffers.depthwise, area(squeeze_ ? height_out() : strip_, width_out()) * expanded_);
    grow(buffers.sums, expanded_);
    grow(buffers.gates, expanded_);
    if (squeeze_) grow(buffers.reduced, channels(squeeze_->reduce.out()));
}

void Block::operator()(const float* in, const BlockBuffers& buffers, float* out) const {
    const int pad = options_.kernel / 2;
    const std::size_t row_in = channels(width_in_) * expanded_;
    const std::size_t row_out = channels(width_out()) * expanded_;
    const float* const residual = options_.residual() ? in : nullptr;
    float* const sums = squeeze_ ? buffers.sums.data() : nullptr;
    if (sums != nullptr) std::fill_n(sums, expanded_, 0.0F);

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
                (*expand_)(in + area(end_row, width_in_) * in_, rows * width_in_, nullptr,
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
            const std::size_t done = area(y, width_out()) * out_;
            (*project_)(strip, count * width_out(), residual != nullptr ? residual + done : nullptr, out + done);
        }
    }
    if (!squeeze_) return;

    const int pixels = height_out() * width_out();
    for (std::size_t c = 0; c < expanded_; ++c) sums[c] /= static_cast<float>(pixels);
    squeeze_->reduce(sums, 1, nullptr, buffers.reduced.data());
    squeeze_->gate(buffers.reduced.data(), 1, nullptr, buffers.gates.data());
    kernels_.scale(buffers.depthwise.data(), pixels, static_cast<int>(expanded_), buffers.gates.data());
    (*project_)(buffers.depthwise.data(), pixels, residual, out);
}

}  // namespace chorus
