#include "trainer/autocast.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <stdexcept>

namespace chorus {
namespace {

// Since LibTorch 2.4 there is one function for all devices.
#if TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR >= 204
void enable(torch::DeviceType device, bool enabled) {
    at::autocast::set_autocast_enabled(device, enabled);
}
void set_type(torch::DeviceType device, torch::ScalarType type) {
    at::autocast::set_autocast_dtype(device, type);
}
#else
void enable(torch::DeviceType device, bool enabled) {
    if (device == torch::kCPU)
        at::autocast::set_cpu_enabled(enabled);
    else
        at::autocast::set_enabled(enabled);
}
void set_type(torch::DeviceType device, torch::ScalarType type) {
    if (device == torch::kCPU)
        at::autocast::set_autocast_cpu_dtype(type);
    else
        at::autocast::set_autocast_gpu_dtype(type);
}
#endif

}  // namespace

AutocastGuard::AutocastGuard(torch::Device device, Autocast type)
    : device_(device.type()), is_on_(type != Autocast::kNone) {
    if (!is_on_) return;
    set_type(device_, type == Autocast::kFloat16 ? torch::kFloat16 : torch::kBFloat16);
    enable(device_, true);
}

AutocastGuard::~AutocastGuard() {
    if (!is_on_) return;
    enable(device_, false);
    at::autocast::clear_cache();  // of narrow weights, which the next step changes
}

bool LossScale::unscale(const std::vector<torch::Tensor>& gradients) {
    constexpr double kFactor = 2.0;
    constexpr int kStepsToGrow = 2000;
    const torch::NoGradGuard no_grad;
    at::_foreach_mul_(gradients, 1.0 / scale_);
    if (!torch::stack(at::_foreach_norm(gradients)).isfinite().all().item<bool>()) {
        if (scale_ <= 1.0)
            throw std::runtime_error("gradients are no numbers any more, unscaled as well: try a lower learning rate");
        scale_ /= kFactor;
        steps_ = 0;
        return false;
    }
    if (++steps_ == kStepsToGrow) restore(scale_ * kFactor, 0);
    return true;
}

void LossScale::restore(double scale, int steps) {
    scale_ = scale;
    steps_ = steps;
}

}  // namespace chorus
