#include "model/mobilenet_v3.h"

#include <fmt/format.h>

#include <cstring>
#include <set>
#include <stdexcept>

#include "model/batch_norm.h"
#include "model/mobilenet_v3_layers.h"

namespace chorus {
namespace {

namespace nn = torch::nn;

torch::Tensor activate(torch::Tensor input, Activation activation) {
    switch (activation) {
        case Activation::kRelu:
            return torch::relu_(input);
        case Activation::kHardswish:
            return torch::hardswish_(input);
        case Activation::kHardsigmoid:
            return torch::hardsigmoid_(input);
        case Activation::kNone:
            break;
    }
    return input;
}

struct ConvNormOptions {
    int in = 0;
    int out = 0;
    int kernel = 1;
    int stride = 1;
    int groups = 1;
    Activation activation = Activation::kNone;
    double momentum = 0.01;
};

class ConvNormImpl : public nn::Module {
  public:
    explicit ConvNormImpl(const ConvNormOptions& options) : options_(options) {
        conv_ = register_module("0", nn::Conv2d(nn::Conv2dOptions(options.in, options.out, options.kernel)
                                                    .stride(options.stride)
                                                    .padding(padding(options))
                                                    .groups(options.groups)
                                                    .bias(false)));
        norm_ = register_module(
            "1",
            nn::BatchNorm2d(nn::BatchNorm2dOptions(options.out).eps(kBatchNormEpsilon).momentum(options.momentum)));
        nn::init::kaiming_normal_(conv_->weight, 0, torch::kFanOut);
    }

    torch::Tensor forward(torch::Tensor input) {
        auto output = torch::conv2d(input, conv_->weight, folded_bias_, options_.stride, padding(options_),
                                    /*dilation=*/1, options_.groups);
        if (folded_bias_.defined()) return activate(std::move(output), options_.activation);
        const bool by_fused_kernels = output.is_cpu() && output.scalar_type() == torch::kFloat32;
        if (norm_->is_training() && (by_fused_kernels || parts_)) {
            norm_->num_batches_tracked += 1;
            const BatchNorm norm{.weight = norm_->weight,
                                 .bias = norm_->bias,
                                 .running_mean = norm_->running_mean,
                                 .running_var = norm_->running_var,
                                 .momentum = options_.momentum,
                                 .parts = parts_.get()};
            if (by_fused_kernels) return normalise_and_activate(output, norm, options_.activation);
            return activate(normalise_part(output, norm), options_.activation);
        }
        return activate(norm_->forward(output), options_.activation);
    }

    void fold() {
        if (folded_bias_.defined()) return;
        const auto scale =
            norm_->weight.to(torch::kFloat64) / torch::sqrt(norm_->running_var.to(torch::kFloat64) + kBatchNormEpsilon);
        const auto shift = norm_->bias.to(torch::kFloat64) - norm_->running_mean.to(torch::kFloat64) * scale;
        conv_->weight.set_data((conv_->weight.to(torch::kFloat64) * scale.view({-1, 1, 1, 1})).to(torch::kFloat32));
        folded_bias_ = register_buffer("folded_bias", shift.to(torch::kFloat32));
    }

    /// Undefined where an activation follows it.
    torch::Tensor idle_bias() const { return options_.activation == Activation::kNone ? norm_->bias : torch::Tensor(); }
    void normalise_over(std::shared_ptr<const BatchParts> parts) { parts_ = std::move(parts); }

  private:
    static int padding(const ConvNormOptions& options) { return (options.kernel - 1) / 2; }

    ConvNormOptions options_;
    nn::Conv2d conv_{nullptr};
    nn::BatchNorm2d norm_{nullptr};
    std::shared_ptr<const BatchParts> parts_;  // null: batches are whole
    torch::Tensor folded_bias_;                // undefined until the normalisation is folded into the convolution
};
TORCH_MODULE(ConvNorm);

class SqueezeExcitationImpl : public nn::Module {
  public:
    SqueezeExcitationImpl(int channels, int squeezed) {
        fc1_ = register_module("fc1", nn::Conv2d(nn::Conv2dOptions(channels, squeezed, 1)));
        fc2_ = register_module("fc2", nn::Conv2d(nn::Conv2dOptions(squeezed, channels, 1)));
        for (auto* layer : {&fc1_, &fc2_}) {
            nn::init::kaiming_normal_((*layer)->weight, 0, torch::kFanOut);
            nn::init::zeros_((*layer)->bias);
        }
    }

    torch::Tensor forward(torch::Tensor input) {
        const auto squeezed = torch::relu(fc1_->forward(input.mean({2, 3}, /*keepdim=*/true)));
        return input * torch::hardsigmoid(fc2_->forward(squeezed));
    }

  private:
    nn::Conv2d fc1_{nullptr};
    nn::Conv2d fc2_{nullptr};
};
TORCH_MODULE(SqueezeExcitation);

class InvertedResidualImpl : public nn::Module {
  public:
    InvertedResidualImpl(const BlockOptions& options, double momentum) : residual_(options.residual()) {
        if (options.expanded != options.in) {
            block_->push_back(ConvNorm(ConvNormOptions{
                .in = options.in, .out = options.expanded, .activation = options.activation, .momentum = momentum}));
        }
        block_->push_back(ConvNorm(ConvNormOptions{.in = options.expanded,
                                                   .out = options.expanded,
                                                   .kernel = options.kernel,
                                                   .stride = options.stride,
                                                   .groups = options.expanded,
                                                   .activation = options.activation,
                                                   .momentum = momentum}));
        if (options.squeeze) {
            block_->push_back(SqueezeExcitation(options.expanded, squeezed_channels(options.expanded)));
        }
        block_->push_back(ConvNorm(ConvNormOptions{.in = options.expanded, .out = options.out, .momentum = momentum}));
        register_module("block", block_);
    }

    torch::Tensor forward(torch::Tensor input) {
        auto output = block_->forward(input);
        return residual_ ? output + input : output;
    }

  private:
    nn::Sequential block_;
    bool residual_;
};
TORCH_MODULE(InvertedResidual);

const char* name_of(TensorType type) {
    switch (type) {
        case TensorType::kFloat16:
            return "float16";
        case TensorType::kFloat32:
            return "float32";
        case TensorType::kInt64:
            return "int64";
    }
    return "unknown";
}

template <typename Visit>
void for_each_tensor(const MobileNetV3& network, Visit visit) {
    for (const auto& item : network->named_parameters()) visit(item.key(), item.value());
    for (const auto& item : network->named_buffers()) visit(item.key(), item.value());
}

/// Copies one stored tensor over the network's own, whose shape it has.
void copy_tensor(const std::string& name, const StoredTensor& stored, torch::Tensor& target) {
    if (stored.shape != target.sizes().vec()) {
        throw std::runtime_error(fmt::format("tensor {} has shape [{}], the network wants [{}]", name,
                                             fmt::join(stored.shape, ", "), fmt::join(target.sizes().vec(), ", ")));
    }
    const bool whole_numbers = target.scalar_type() == torch::kInt64;
    if (whole_numbers != (stored.type == TensorType::kInt64)) {
        throw std::runtime_error(fmt::format("tensor {} is {}, the network wants {}", name, name_of(stored.type),
                                             whole_numbers ? "int64" : "a float"));
    }
    if (whole_numbers) {
        auto values = torch::empty(stored.shape, torch::kInt64);
        if (stored.bytes.size() != static_cast<std::size_t>(values.numel()) * sizeof(std::int64_t)) {
            throw std::runtime_error(fmt::format("tensor {} holds {} bytes", name, stored.bytes.size()));
        }
        std::memcpy(values.data_ptr(), stored.bytes.data(), stored.bytes.size());
        target.copy_(values);
        return;
    }
    auto values = to_float32(stored);
    if (values.size() != static_cast<std::size_t>(target.numel())) {
        throw std::runtime_error(fmt::format("tensor {} holds {} values", name, values.size()));
    }
    target.copy_(torch::from_blob(values.data(), stored.shape, torch::kFloat32));
}

}  // namespace

MobileNetV3Impl::MobileNetV3Impl(const MobileNetOptions& options) {
    if (options.classes < 1) throw std::invalid_argument("a network needs at least one class");
    const auto blocks = blocks_of(options.architecture);
    const double momentum = options.batch_norm_momentum;

    features_->push_back(ConvNorm(ConvNormOptions{.in = 1,
                                                  .out = blocks.front().in,
                                                  .kernel = 3,
                                                  .stride = 2,
                                                  .activation = Activation::kHardswish,
                                                  .momentum = momentum}));
    for (const auto& block : blocks) features_->push_back(InvertedResidual(block, momentum));
    embedding_size_ = embedding_size_of(options.architecture);
    features_->push_back(ConvNorm(ConvNormOptions{
        .in = blocks.back().out, .out = embedding_size_, .activation = Activation::kHardswish, .momentum = momentum}));
    register_module("features", features_);
    head_ = register_module("head", nn::Linear(embedding_size_, options.classes));
}

torch::Tensor MobileNetV3Impl::features(torch::Tensor input) {
    return features_->forward(std::move(input));
}

torch::Tensor MobileNetV3Impl::run_stages(torch::Tensor input, int begin, int end) {
    for (auto stage = features_->begin() + begin; stage != features_->begin() + end; ++stage)
        input = stage->forward(std::move(input));
    return input;
}

torch::Tensor MobileNetV3Impl::pool(const torch::Tensor& features) {
    const auto over_time = features.mean(2);
    return over_time.amax(2) + over_time.mean(2);
}

torch::Tensor MobileNetV3Impl::embed(torch::Tensor input) {
    return pool(features(std::move(input)));
}

torch::Tensor MobileNetV3Impl::classify(torch::Tensor embedding) {
    return head_->forward(std::move(embedding));
}

void fold_batch_norm(MobileNetV3& network) {
    const torch::NoGradGuard no_gradients;
    for (const auto& module : network->modules(/*include_self=*/false)) {
        if (auto* layer = module->as<ConvNormImpl>()) layer->fold();
    }
}

void normalise_over(MobileNetV3& network, const BatchParts& parts) {
    const auto shared = std::make_shared<const BatchParts>(parts);
    for (const auto& module : network->modules(/*include_self=*/false))
        if (auto* layer = module->as<ConvNormImpl>()) layer->normalise_over(shared);
}

std::vector<torch::Tensor> idle_biases(const MobileNetV3& network) {
    std::vector<torch::Tensor> biases;
    for (const auto& module : network->modules(/*include_self=*/false))
        if (const auto* layer = module->as<ConvNormImpl>(); layer != nullptr && layer->idle_bias().defined())
            biases.push_back(layer->idle_bias());
    return biases;
}

void load_weights(MobileNetV3& network, const std::map<std::string, StoredTensor>& tensors) {
    const torch::NoGradGuard no_gradients;
    std::set<std::string> known;
    for_each_tensor(network, [&](const std::string& name, torch::Tensor target) {
        const auto stored = tensors.find(name);
        if (stored == tensors.end()) throw std::runtime_error(fmt::format("tensor {} is missing", name));
        copy_tensor(name, stored->second, target);
        known.insert(name);
    });
    for (const auto& [name, tensor] : tensors) {
        if (!known.contains(name)) throw std::runtime_error(fmt::format("tensor {} is unknown to the network", name));
    }
}

std::map<std::string, StoredTensor> store_weights(const MobileNetV3& network, TensorType type) {
    std::map<std::string, StoredTensor> tensors;
    for_each_tensor(network, [&](const std::string& name, const torch::Tensor& value) {
        const auto shape = value.sizes().vec();
        if (value.scalar_type() == torch::kInt64) {
            const auto plain = value.detach().to(torch::kCPU).contiguous();
            StoredTensor stored{.type = TensorType::kInt64, .shape = shape, .bytes = {}};
            stored.bytes.resize(static_cast<std::size_t>(plain.numel()) * sizeof(std::int64_t));
            std::memcpy(stored.bytes.data(), plain.data_ptr(), stored.bytes.size());
            tensors.emplace(name, std::move(stored));
            return;
        }
        const auto plain = value.detach().to(torch::kCPU, torch::kFloat32).contiguous();
        tensors.emplace(name,
                        to_stored({plain.data_ptr<float>(), static_cast<std::size_t>(plain.numel())}, shape, type));
    });
    return tensors;
}

}  // namespace chorus
