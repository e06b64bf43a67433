#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/precision.h"

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
    /// One for another thread that shares this one's weights and gives the same scores; null where there can't be one,
    /// or where this one takes several threads by itself.
    virtual std::unique_ptr<Classifier> for_another_thread() const { return nullptr; }
};

struct ClassifierOptions {
    std::string device = "auto";  // "auto" | "cpu" | "cuda:N"
    int threads = 0;              // on the CPU, over which the windows of a batch are spread; 0: one
    Precision precision = Precision::kFloat32;
    // Of a GPU alone:
    int max_batch = 16;  // it has memory for so many windows at once
    /// It ran short of memory, or is lost: one line that says what becomes of the scoring, from the thread that scores.
    std::function<void(const std::string& line)> on_fault = [](const std::string&) {};
};

/// Throws std::runtime_error with one clear line: tensors missing, unknown or of the wrong shape, or a device that is
/// not there or fails; "auto" then takes the CPU. A CPU's is make_cpu_classifier()'s, a GPU's
/// make_torch_classifier()'s. What "auto" does without is told by on_fault.
std::unique_ptr<Classifier> make_classifier(const Bundle& bundle, const ClassifierOptions& options);

/// The network of scoring_network.h: no LibTorch. With one thread it allocates nothing while it scores. Throws as
/// make_classifier() does, and where the processor lacks what the precision needs.
std::unique_ptr<Classifier> make_cpu_classifier(const Bundle& bundle, int threads,
                                                Precision precision = Precision::kFloat32);

/// Whether this machine's processor has what the precision needs.
bool has_precision(Precision precision);

/// "float32", "float16" or "bfloat16"; nothing for anything else.
inline std::optional<Precision> precision_of(std::string_view name) {
    if (name == "float32") return Precision::kFloat32;
    if (name == "float16") return Precision::kFloat16;
    if (name == "bfloat16") return Precision::kBfloat16;
    return std::nullopt;
}

/// The same network in LibTorch, on any device: what a GPU runs, and what the other is measured by. Scores in batches,
/// as device_classifier.h tells; with a GPU lost, on `threads` of the CPU, 0 being all processors.
std::unique_ptr<Classifier> make_torch_classifier(const Bundle& bundle, const ClassifierOptions& options);

/// LibTorch's version and whether CUDA is there, for --version.
std::string torch_description();

}  // namespace chorus
