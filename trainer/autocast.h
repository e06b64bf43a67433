#pragma once
// Layers in a type of half the width, where that loses little. Includes LibTorch: only for .cpp files.

#include <torch/torch.h>

#include <vector>

#include "trainer/training.h"

namespace chorus {

/// While it lives, this thread's convolutions and matrix products take and give the narrow type, as LibTorch's autocast
/// has it; weights stay float32.
class AutocastGuard {
  public:
    AutocastGuard(torch::Device device, Autocast type);
    ~AutocastGuard();
    AutocastGuard(const AutocastGuard&) = delete;
    AutocastGuard& operator=(const AutocastGuard&) = delete;

  private:
    torch::DeviceType device_;
    bool is_on_;
};

/// float16 holds nothing below 6e-8, where many gradients lie: the loss is multiplied by as much as they bear, found as
/// in PyTorch's GradScaler (halved when a gradient is no number any more, doubled after 2000 steps without that).
/// Micikevicius et al. 2018, section 3.2.
class LossScale {
  public:
    /// Whether gradients that are multiplied by scale() are numbers; then they are divided by it. Throws
    /// std::runtime_error where they are none by a scale of 1 either.
    bool unscale(const std::vector<torch::Tensor>& gradients);

    double scale() const { return scale_; }
    int steps() const { return steps_; }  // that went well since the scale last changed
    void restore(double scale, int steps);

  private:
    double scale_ = 65'536.0;
    int steps_ = 0;
};

}  // namespace chorus
