#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "model/classifier.h"
#include "model/device_classifier.h"
#include "model/mobilenet_v3.h"
#include "model/torch_device.h"

namespace chorus {
namespace {

constexpr double kFloat32Tolerance = 1e-3;  // between scores of a GPU and of the CPU
constexpr double kFloat16Tolerance = 0.02;

torch::ScalarType type_of(Precision precision) {
    if (precision == Precision::kBfloat16) throw std::runtime_error("bfloat16 is for a CPU, and a GPU scores");
    return precision == Precision::kFloat16 ? torch::kFloat16 : torch::kFloat32;
}

MobileNetV3 load_network(const Bundle& bundle, torch::Device device, torch::ScalarType precision) {
    MobileNetV3 network(
        MobileNetOptions{.architecture = bundle.architecture, .classes = static_cast<int>(bundle.labels.size())});
    load_weights(network, bundle.tensors);
    network->eval();
    fold_batch_norm(network);
    network->to(device, precision);
    return network;
}

// CUDA's libraries and driver have words of their own for it.
bool is_out_of_memory(const c10::Error& error) {
    const std::string_view what = error.what_without_backtrace();
    return dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr || what.find("out of memory") != what.npos ||
           what.find("ALLOC_FAILED") != what.npos;
}

[[noreturn]] void rethrow(const c10::Error& error) {
    const auto line = first_line(error);
    if (is_out_of_memory(error)) throw OutOfDeviceMemory(line);
    throw std::runtime_error(line);
}

class TorchNetwork final : public DeviceNetwork {
  public:
    TorchNetwork(const Bundle& bundle, torch::Device device, torch::ScalarType precision, std::int64_t max_batch,
                 int threads) try
        : device_(device), precision_(precision), threads_(threads), network_(load_network(bundle, device, precision)) {
        forbid_tensor_float_32();
        const torch::InferenceMode inference;
        const auto shape = {max_batch, std::int64_t{1}, std::int64_t{bundle.front_end.mels},
                            std::int64_t{bundle.front_end.frames()}};
        const auto on_host = torch::TensorOptions(torch::kFloat32).pinned_memory(device.is_cuda());
        windows_ = torch::empty(shape, on_host);
        device_windows_ = torch::zeros(shape, torch::TensorOptions(torch::kFloat32).device(device));
        scores_ = torch::empty({max_batch, static_cast<std::int64_t>(bundle.labels.size())}, on_host);
    } catch (const c10::Error& error) {
        rethrow(error);
    }

    void score(std::span<const std::span<const float>> windows, std::size_t size, std::span<float> scores) override
        try {
        // LibTorch keeps this number a thread, and the scoring thread need not be the one that made the classifier.
        if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
        const torch::InferenceMode inference;
        const auto count = static_cast<std::int64_t>(windows.size());
        float* out = windows_.data_ptr<float>();
        for (const auto& window : windows) out = std::ranges::copy(window, out).out;
        device_windows_.narrow(0, 0, count).copy_(windows_.narrow(0, 0, count), /*non_blocking=*/true);
        const auto batch = device_windows_.narrow(0, 0, static_cast<std::int64_t>(size)).to(precision_);
        const auto output = torch::sigmoid(network_->forward(batch).to(torch::kFloat32));
        scores_.narrow(0, 0, count).copy_(output.narrow(0, 0, count), /*non_blocking=*/true);
        if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
        std::ranges::copy(std::span(scores_.data_ptr<float>(), scores.size()), scores.begin());
    } catch (const c10::Error& error) {
        rethrow(error);
    }

    std::string description() const override {
        const auto* const precision = precision_ == torch::kFloat16 ? "float16" : "float32";
        if (device_.is_cuda()) return fmt::format("LibTorch {} on {} in {}", TORCH_VERSION, device_.str(), precision);
        return fmt::format("LibTorch {} on the CPU in {}, {} {}", TORCH_VERSION, precision, threads_,
                           threads_ == 1 ? "thread" : "threads");
    }

  private:
    torch::Device device_;
    torch::ScalarType precision_;
    int threads_;
    MobileNetV3 network_;
    // Room for the largest batch, [batch, 1, mel, frame] and [batch, class]. The host's is pinned for a GPU, which then
    // copies by itself while this thread goes on to start the network's layers.
    torch::Tensor windows_;
    torch::Tensor device_windows_;
    torch::Tensor scores_;
};

int all_processors() {
    return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 16U));
}

}  // namespace

std::unique_ptr<Classifier> make_classifier(const Bundle& bundle, const ClassifierOptions& options) {
    const bool may_choose = options.device == "auto";
    const bool for_gpu = options.precision == Precision::kFloat16;
    if (find_device(options.device).is_cpu()) {
        auto cpu = make_cpu_classifier(bundle, options.threads,
                                       may_choose && for_gpu ? Precision::kFloat32 : options.precision);
        if (may_choose && for_gpu)
            options.on_fault("float16 is for a GPU and there is none: the CPU scores in float32");
        return cpu;
    }
    if (may_choose && options.precision == Precision::kBfloat16)
        return make_cpu_classifier(bundle, options.threads, options.precision);
    try {
        return make_torch_classifier(bundle, options);
    } catch (const std::exception& error) {
        if (!may_choose) throw;
        // A bundle that is at fault itself is refused here, and no fault of the GPU.
        auto cpu = make_cpu_classifier(bundle, options.threads > 0 ? options.threads : all_processors());
        options.on_fault(fmt::format("there is a GPU, the CPU scores all the same: {}", error.what()));
        return cpu;
    }
}

std::unique_ptr<Classifier> make_torch_classifier(const Bundle& bundle, const ClassifierOptions& options) {
    const auto device = find_device(options.device);
    const auto precision = type_of(options.precision);
    auto cpu = make_cpu_classifier(bundle, options.threads > 0 ? options.threads : all_processors());
    auto network =
        std::make_unique<TorchNetwork>(bundle, device, precision, options.max_batch, std::max(options.threads, 1));
    return std::make_unique<DeviceClassifier>(
        std::move(network), std::move(cpu),
        DeviceClassifier::Options{.window_size = bundle.front_end.feature_size(),
                                  .max_batch = static_cast<std::size_t>(options.max_batch),
                                  .tolerance = precision == torch::kFloat16 ? kFloat16Tolerance : kFloat32Tolerance,
                                  .on_fault = options.on_fault});
}

std::string torch_description() {
    return fmt::format(
        "LibTorch {} ({})", TORCH_VERSION,
        torch::cuda::is_available() ? fmt::format("{} CUDA devices", torch::cuda::device_count()) : "no CUDA device");
}

}  // namespace chorus
