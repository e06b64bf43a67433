#pragma once
// Scoring on a device with memory of its own, a GPU, that may run short of it or be lost. Internal to model/.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/classifier.h"

namespace chorus {

/// A smaller batch may do.
struct OutOfDeviceMemory : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The network on a device. One thread at a time.
class DeviceNetwork {
  public:
    virtual ~DeviceNetwork() = default;

    /// Scores `windows` in a batch of `size`, at least as many; whatever fills it up. Throws OutOfDeviceMemory, and
    /// any other std::exception where the device can't go on.
    virtual void score(std::span<const std::span<const float>> windows, std::size_t size, std::span<float> scores) = 0;
    /// In words: library, device, precision.
    virtual std::string description() const = 0;
};

/// Scores on a device in batches of a few sizes alone, powers of two and the largest, each of which has run before the
/// first window comes. For want of memory the largest is halved; when the device is lost, or its scores are no numbers,
/// the CPU takes over for good. No window is lost by either, and both are told.
class DeviceClassifier final : public Classifier {
  public:
    struct Options {
        std::size_t window_size = 0;  // mels * frames
        std::size_t max_batch = 1;
        double tolerance = 1e-3;  // between the device's scores and the CPU's
        std::function<void(const std::string& line)> on_fault;
    };

    /// Throws what the device does, except where a smaller batch fits, and std::runtime_error where its scores of a
    /// window of noise are not the CPU's.
    DeviceClassifier(std::unique_ptr<DeviceNetwork> device, std::unique_ptr<Classifier> cpu, Options options);

    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override;
    std::size_t classes() const override { return cpu_->classes(); }
    bool gains_from_batches() const override { return true; }
    std::string description() const override;

  private:
    void warm_up();
    void compare(std::span<const float> scores, std::span<const float> wanted) const;
    std::size_t size_for(std::size_t windows) const;
    void go_on_below(std::size_t size, const std::string& reason);
    void give_up(const std::string& reason);
    void leave_device();

    const Options options_;
    std::unique_ptr<DeviceNetwork> device_;  // null once it is lost
    std::unique_ptr<Classifier> cpu_;
    std::size_t largest_;  // batch
};

}  // namespace chorus
