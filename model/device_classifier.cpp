#include "model/device_classifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

namespace chorus {
namespace {

std::size_t next_smaller(std::size_t size) {
    return std::bit_ceil(size) / 2;
}

// Every value that features can have, in no order: what a calculation gone wrong shows on.
std::vector<float> noise(std::size_t size) {
    std::minstd_rand random;
    std::vector<float> values(size);
    for (auto& value : values) value = static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max());
    return values;
}

bool all_numbers(std::span<const float> scores) {
    return std::ranges::all_of(scores, [](float score) { return std::isfinite(score); });
}

}  // namespace

DeviceClassifier::DeviceClassifier(std::unique_ptr<DeviceNetwork> device, std::unique_ptr<Classifier> cpu,
                                   Options options)
    : options_(std::move(options)),
      device_(std::move(device)),
      cpu_(std::move(cpu)),
      largest_(std::max<std::size_t>(options_.max_batch, 1)) {
    warm_up();
}

// The largest first: what it took of the memory then does for the others.
void DeviceClassifier::warm_up() {
    const auto window = noise(options_.window_size);
    const std::vector<std::span<const float>> windows(largest_, window);
    std::vector<float> wanted(classes());
    cpu_->score(std::span(windows).first(1), wanted);
    std::vector<float> scores(largest_ * classes());
    for (auto size = largest_; size > 0; size = next_smaller(size)) {
        const auto batch = std::span(scores).first(size * classes());
        try {
            device_->score(std::span(windows).first(size), size, batch);
        } catch (const OutOfDeviceMemory& error) {
            if (size == 1) throw;
            go_on_below(size, error.what());
            continue;
        } catch (...) {
            leave_device();
            throw;
        }
        compare(batch, wanted);
    }
}

void DeviceClassifier::score(std::span<const std::span<const float>> windows, std::span<float> scores) {
    if (scores.size() != windows.size() * classes()) throw std::invalid_argument("no room for the scores");
    for (const auto& window : windows) {
        if (window.size() != options_.window_size)
            throw std::invalid_argument("a window does not have the network's size");
    }
    while (device_ && !windows.empty()) {
        const auto count = std::min(windows.size(), largest_);
        const auto size = size_for(count);
        const auto batch = scores.first(count * classes());
        try {
            device_->score(windows.first(count), size, batch);
            if (!all_numbers(batch)) throw std::runtime_error("its scores are no numbers");
        } catch (const OutOfDeviceMemory& error) {
            size > 1 ? go_on_below(size, error.what()) : give_up(error.what());
            continue;
        } catch (const std::exception& error) {
            give_up(error.what());
            continue;
        }
        windows = windows.subspan(count);
        scores = scores.subspan(batch.size());
    }
    if (!windows.empty()) cpu_->score(windows, scores);
}

std::string DeviceClassifier::description() const {
    if (!device_) return cpu_->description();
    return fmt::format("{}, at most {} windows at once", device_->description(), largest_);
}

// The rows of `scores` are those of one window. Weights that are no numbers give none on either side.
void DeviceClassifier::compare(std::span<const float> scores, std::span<const float> wanted) const {
    double apart = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        const float score = scores[i];
        const float other = wanted[i % wanted.size()];
        if (std::isfinite(score) != std::isfinite(other))
            throw std::runtime_error(fmt::format("{}: its scores are no numbers", device_->description()));
        if (std::isfinite(score)) apart = std::max(apart, std::abs(double{score} - double{other}));
    }
    if (apart > options_.tolerance) {
        throw std::runtime_error(fmt::format("{}: its scores are up to {:.4f} off the CPU's, more than {}",
                                             device_->description(), apart, options_.tolerance));
    }
}

std::size_t DeviceClassifier::size_for(std::size_t windows) const {
    return std::min(std::bit_ceil(windows), largest_);
}

void DeviceClassifier::go_on_below(std::size_t size, const std::string& reason) {
    largest_ = next_smaller(size);
    options_.on_fault(fmt::format("{}: out of memory with {} windows at once, going on with {}: {}",
                                  device_->description(), size, largest_, reason));
}

void DeviceClassifier::give_up(const std::string& reason) {
    options_.on_fault(fmt::format("{}: lost, the CPU scores from now on: {}", device_->description(), reason));
    leave_device();
}

// For good: to give back what it holds would ask the lost device again, and end the process where it fails.
void DeviceClassifier::leave_device() {
    static_cast<void>(device_.release());
}

}  // namespace chorus
