#pragma once
// The layers of the scoring network, laid out for one set of kernels. Internal to model/; const after construction.

#include <optional>
#include <string>

#include "model/aligned_floats.h"
#include "model/float_arena.h"
#include "model/mobilenet_v3_layers.h"
#include "model/network_kernels.h"
#include "model/network_weights.h"

namespace chorus {

/// What layers are made for, and where their weights lie.
struct LayerPlace {
    const Kernels& kernels;
    FloatArena& memory;
};

/// A 1x1 convolution or linear layer.
class Pointwise {
  public:
    Pointwise(const Weights& from, Activation activation, const LayerPlace& place);

    int out() const { return layer_.out; }  // padded

    void operator()(const float* in, int pixels, const float* residual, float* out) const {
        kernels_.pointwise(layer_, in, pixels, residual, out);
    }

  private:
    const Kernels& kernels_;
    PointwiseLayer layer_;
};

class Depthwise {
  public:
    Depthwise(const Weights& from, const BlockOptions& options, const LayerPlace& place);

    void operator()(const float* const* rows, int width_in, int width_out, float* sums, float* out) const {
        kernels_.depthwise_row(layer_, rows, width_in, width_out, sums, out);
    }

  private:
    const Kernels& kernels_;
    DepthwiseLayer layer_;
};

/// The buffers of one block's inside.
struct BlockBuffers {
    AlignedFloats expanded;   // rows of the strip at work
    AlignedFloats depthwise;  // of the strip; with squeeze and excitation of the whole window
    AlignedFloats sums;
    AlignedFloats reduced;
    AlignedFloats gates;
};

/// Makes room for so many floats, where there is less.
void grow(AlignedFloats& floats, std::size_t wanted);

/// An inverted residual on an input of one size, [height, width, channels].
class Block {
  public:
    Block(TensorReader& tensors, const LayerPlace& place, const std::string& name, const BlockOptions& options,
          int height, int width);

    int height_out() const { return (height_in_ + options_.stride - 1) / options_.stride; }
    int width_out() const { return (width_in_ + options_.stride - 1) / options_.stride; }
    std::size_t output_size() const;

    void fit(BlockBuffers& buffers) const;

    void operator()(const float* in, const BlockBuffers& buffers, float* out) const;

  private:
    struct Squeeze {
        Pointwise reduce;
        Pointwise gate;
    };

    /// Input rows that `rows` output rows see.
    int rows_in(int rows) const;
    std::size_t strip_size(int rows) const;

    const Kernels& kernels_;
    BlockOptions options_;
    std::size_t in_;  // channels, padded
    std::size_t expanded_;
    std::size_t out_;
    int height_in_;
    int width_in_;
    int strip_ = 1;  // output rows at a time
    std::optional<Pointwise> expand_;
    std::optional<Depthwise> depthwise_;
    std::optional<Squeeze> squeeze_;
    std::optional<Pointwise> project_;
};

}  // namespace chorus
