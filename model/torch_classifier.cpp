#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "model/classifier.h"
#include "model/mobilenet_v3.h"

namespace chorus {
namespace {

std::runtime_error no_device(const std::string& device, const std::string& reason) {
    return std::runtime_error("device \"" + device + "\": " + reason);
}

torch::Device find_device(const std::string& name) {
    const auto available = torch::cuda::is_available() ? torch::cuda::device_count() : 0;
    if (name == "cpu") return torch::kCPU;
    if (name == "auto") return available > 0 ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);

    constexpr std::string_view kPrefix = "cuda:";
    unsigned index = 0;
    const auto* const last = name.data() + name.size();
    if (!name.starts_with(kPrefix)) throw no_device(name, "is none of auto, cpu and cuda:N");
    const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), last, index);
    if (error != std::errc{} || end != last) throw no_device(name, "is none of auto, cpu and cuda:N");
    if (index >= available) {
        throw no_device(name, available == 0 ? "LibTorch finds no CUDA device here"
                                             : fmt::format("there are only {} CUDA devices", available));
    }
    return {torch::kCUDA, static_cast<torch::DeviceIndex>(index)};
}

MobileNetV3 load_network(const Bundle& bundle, torch::Device device) {
    MobileNetV3 network(
        MobileNetOptions{.architecture = bundle.architecture, .classes = static_cast<int>(bundle.labels.size())});
    load_weights(network, bundle.tensors);
    network->eval();
    fold_batch_norm(network);
    network->to(device);
    return network;
}

class TorchClassifier final : public Classifier {
  public:
    TorchClassifier(const Bundle& bundle, const ClassifierOptions& options)
        : device_(find_device(options.device)),
          threads_(std::max(options.threads, 1)),
          mels_(bundle.front_end.mels),
          frames_(bundle.front_end.frames()),
          classes_(bundle.labels.size()),
          network_(load_network(bundle, device_)) {
        const std::vector<float> silence(bundle.front_end.feature_size(), 0.0F);
        const std::span<const float> window = silence;
        std::vector<float> scores(classes_);
        score({&window, 1}, scores);
    }

    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        if (scores.size() != windows.size() * classes_) throw std::invalid_argument("no room for the scores");
        // LibTorch keeps this number a thread, and the scoring thread need not be the one that made the classifier.
        if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
        const torch::InferenceMode inference;
        if (device_.is_cuda()) {
            if (!windows.empty()) score_batch(windows, scores);
            return;
        }
        // One by one: convolutions choose their algorithm, and so the last bits, by the size of the batch.
        for (std::size_t i = 0; i < windows.size(); ++i) {
            score_batch(windows.subspan(i, 1), scores.subspan(i * classes_, classes_));
        }
    }

    std::size_t classes() const override { return classes_; }

    // On the CPU a window fills the caches by itself.
    bool gains_from_batches() const override { return device_.is_cuda(); }
    std::string description() const override {
        const auto library = fmt::format("LibTorch {}", TORCH_VERSION);
        if (device_.is_cuda()) return fmt::format("{} on {}", library, device_.str());
        return fmt::format("{} on the CPU, {} {}", library, threads_, threads_ == 1 ? "thread" : "threads");
    }

  private:
    void score_batch(std::span<const std::span<const float>> windows, std::span<float> scores) {
        const auto count = static_cast<std::int64_t>(windows.size());
        auto input = torch::empty({count, 1, mels_, frames_}, torch::kFloat32);
        float* out = input.data_ptr<float>();
        for (const auto& window : windows) {
            if (window.size() != static_cast<std::size_t>(mels_ * frames_)) {
                throw std::invalid_argument("a window does not have the network's size");
            }
            out = std::ranges::copy(window, out).out;
        }
        const auto output = torch::sigmoid(network_->forward(input.to(device_))).to(torch::kCPU).contiguous();
        std::ranges::copy(std::span(output.data_ptr<float>(), scores.size()), scores.begin());
    }

    torch::Device device_;
    int threads_;
    std::int64_t mels_;
    std::int64_t frames_;
    std::size_t classes_;
    MobileNetV3 network_;
};

}  // namespace

std::unique_ptr<Classifier> make_classifier(const Bundle& bundle, const ClassifierOptions& options) {
    if (find_device(options.device).is_cpu()) return make_cpu_classifier(bundle, options.threads, options.precision);
    return make_torch_classifier(bundle, options);
}

std::unique_ptr<Classifier> make_torch_classifier(const Bundle& bundle, const ClassifierOptions& options) {
    return std::make_unique<TorchClassifier>(bundle, options);
}

std::string torch_description() {
    return fmt::format(
        "LibTorch {} ({})", TORCH_VERSION,
        torch::cuda::is_available() ? fmt::format("{} CUDA devices", torch::cuda::device_count()) : "no CUDA device");
}

}  // namespace chorus
