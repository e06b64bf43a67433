#include "model/torch_device.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace chorus {
namespace {

std::runtime_error no_device(const std::string& device, const std::string& reason) {
    return std::runtime_error("device \"" + device + "\": " + reason);
}

}  // namespace

c10::Device find_device(const std::string& name, int number) {
    const auto available = torch::cuda::is_available() ? static_cast<unsigned>(torch::cuda::device_count()) : 0U;
    const auto gpu = [](unsigned index) { return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(index)); };
    if (name == "cpu") return torch::kCPU;
    if (name == "auto") {
        if (available == 0) return torch::kCPU;
        if (available == 1) return gpu(0);  // where each process is shown its own alone, that is the first to all
        if (static_cast<unsigned>(number) >= available)
            throw no_device(
                name, fmt::format("there are only {} CUDA devices for process {} of this machine", available, number));
        return gpu(static_cast<unsigned>(number));
    }

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
    return gpu(index);
}

std::string first_line(const std::exception& error) {
    const auto* const of_torch = dynamic_cast<const c10::Error*>(&error);
    const std::string text = of_torch != nullptr ? of_torch->what_without_backtrace() : error.what();
    return text.substr(0, text.find('\n'));
}

void forbid_tensor_float_32() {
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setAllowTF32CuBLAS(false);
}

}  // namespace chorus
