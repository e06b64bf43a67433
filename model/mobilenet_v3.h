#pragma once
// MobileNetV3 as in torchvision (same parameter names), with one input channel, the pooling of Mix2 (mean over
// frequency, then max over time + mean over time) and a linear head. Includes LibTorch: only for .cpp files of model/,
// trainer/ and their tests.

#include <torch/torch.h>

#include "model/batch_parts.h"
#include "model/bundle.h"

namespace chorus {

struct MobileNetOptions {
    Architecture architecture = Architecture::kMobileNetV3Large;
    int classes = 0;
    double batch_norm_momentum = 0.01;  // torchvision's; short runs want more
};

class MobileNetV3Impl : public torch::nn::Module {
  public:
    explicit MobileNetV3Impl(const MobileNetOptions& options);

    /// [batch, 1, mel, frame] -> [batch, channels, mel / 32, frame / 32], rounded up at each stride.
    torch::Tensor features(torch::Tensor input);
    /// What comes out of the stages from `begin` up to but not including `end`, of stages() in all: features.0 is the
    /// first.
    torch::Tensor run_stages(torch::Tensor input, int begin, int end);
    int stages() const { return static_cast<int>(features_->size()); }
    /// What comes out of the last stage -> [batch, embedding_size()].
    torch::Tensor pool(const torch::Tensor& features);
    /// [batch, 1, mel, frame] -> [batch, embedding_size()].
    torch::Tensor embed(torch::Tensor input);
    /// [batch, embedding_size()] -> logits [batch, classes].
    torch::Tensor classify(torch::Tensor embedding);
    torch::Tensor forward(torch::Tensor input) { return classify(embed(std::move(input))); }

    int embedding_size() const { return embedding_size_; }  // 960 (large), 576 (small)

  private:
    int embedding_size_;
    torch::nn::Sequential features_;
    torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(MobileNetV3);

/// Folds every batch normalisation into the convolution before it, which is the same function in fewer passes over
/// memory: for scoring only, the network can't be trained or stored after.
void fold_batch_norm(MobileNetV3& network);

/// From now on batch normalisation learns from the statistics of a batch of which this network sees a part.
void normalise_over(MobileNetV3& network, const BatchParts& parts);

/// Biases that change nothing in training: the blocks' last normalisation has no activation behind it, and what follows
/// takes every shift out again (a 1x1 convolution, normalised). Their gradient is what rounding leaves of 0.
std::vector<torch::Tensor> idle_biases(const MobileNetV3& network);

/// Copies a bundle's tensors into the network; throws std::runtime_error naming the first that is missing, unknown or
/// of the wrong shape.
void load_weights(MobileNetV3& network, const std::map<std::string, StoredTensor>& tensors);
/// All parameters and buffers (num_batches_tracked as int64); floats in `type`.
std::map<std::string, StoredTensor> store_weights(const MobileNetV3& network, TensorType type);

}  // namespace chorus
