#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace chorus {

struct Bundle;

/// A trained network that turns windows into scores. Free of LibTorch's headers. One thread at a time.
class Classifier {
  public:
    virtual ~Classifier() = default;

    /// windows: n spans of normalised features [mels, frames]; scores: [n, classes], row-major, each in 0..1 (the
    /// classes are not exclusive). On the CPU a window's scores are the same bits whatever batch it came in.
    virtual void score(std::span<const std::span<const float>> windows, std::span<float> scores) = 0;

    virtual std::size_t classes() const = 0;
    /// Whether windows scored together take less time than one by one.
    virtual bool gains_from_batches() const { return false; }
    /// In words, for the log: device, threads, library.
    virtual std::string description() const = 0;
};

struct ClassifierOptions {
    std::string device = "auto";  // "auto" | "cpu" | "cuda:N"
    // Of one forward pass on the CPU. More than one only pays with cores to themselves: OpenMP's threads wait by
    // spinning, and on busy cores that costs tens of times what it saves (OMP_WAIT_POLICY=passive softens it). 0: one.
    int threads = 0;
};

/// Throws std::runtime_error with one clear line: tensors missing, unknown or of the wrong shape, or a device that is
/// not there. Runs one warm-up window.
std::unique_ptr<Classifier> make_classifier(const Bundle& bundle, const ClassifierOptions& options);

/// LibTorch's version and whether CUDA is there, for --version.
std::string torch_description();

}  // namespace chorus
