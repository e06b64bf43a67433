#include "trainer/feature_store.h"

#include <c10/util/Half.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "trainer/audio_file.h"

namespace chorus {
namespace {

/// Files end a sample early or late by rounding; more than this is another clip than the manifest says.
constexpr double kLengthToleranceSeconds = 0.02;

std::vector<float> read_clip(const std::filesystem::path& path, const FrontEndParameters& parameters) {
    const double longest = parameters.window_seconds + 2 * kLengthToleranceSeconds;
    auto samples = read_audio(path, parameters.sample_rate_hz,
                              {.start_seconds = 0.0, .seconds = longest, .channel = std::nullopt});
    const double seconds = static_cast<double>(samples.size()) / parameters.sample_rate_hz;
    if (std::abs(seconds - parameters.window_seconds) > kLengthToleranceSeconds) {
        const char* relation = seconds < parameters.window_seconds ? "only " : "more than ";
        throw std::runtime_error(fmt::format("{}: lasts {}{:.2f} s, a window {:g} s", path.string(), relation,
                                             std::min(seconds, parameters.window_seconds), parameters.window_seconds));
    }
    samples.resize(static_cast<std::size_t>(parameters.window_samples()));
    return samples;
}

/// Computes rows until none is left; several threads share one.
class FeatureWorkers {
  public:
    FeatureWorkers(const FrontEnd& front_end, const Dataset& dataset, FeatureStore& store)
        : front_end_(front_end), dataset_(dataset), store_(store), reasons_(dataset.clips.size()) {}

    void run(const OnFeatureProgress& on_progress) noexcept {
        std::vector<float> features(front_end_.parameters().feature_size());
        try {
            for (std::size_t row = next_++; row < reasons_.size() && !failed_; row = next_++) {
                compute(row, features);
                const auto done = ++done_;
                if (on_progress) on_progress(done, reasons_.size());
            }
        } catch (...) {
            const std::lock_guard lock(mutex_);
            failure_ = std::current_exception();
            failed_ = true;
        }
    }

    void rethrow_failure() const {
        if (failure_) std::rethrow_exception(failure_);
    }
    /// Why a row has no features; empty where it has.
    const std::vector<std::string>& reasons() const { return reasons_; }

  private:
    void compute(std::size_t row, std::vector<float>& features) {
        const auto& path = dataset_.clips[row].audio;
        std::vector<float> samples;
        try {
            samples = read_clip(path, front_end_.parameters());
        } catch (const std::runtime_error& error) {
            const std::string_view what = error.what();
            const auto prefix = path.string() + ": ";
            reasons_[row] = what.starts_with(prefix) ? what.substr(prefix.size()) : what;
            return;
        }
        features_of_clip(front_end_, samples, features);
        store_.set(row, features);
    }

    const FrontEnd& front_end_;
    const Dataset& dataset_;
    FeatureStore& store_;
    std::vector<std::string> reasons_;  // each row written by one thread
    std::atomic<std::size_t> next_{0};
    std::atomic<std::size_t> done_{0};
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::exception_ptr failure_;  // guarded by mutex_ until the threads are joined
};

}  // namespace

FeatureStore::FeatureStore(int mels, int frames, std::size_t rows)
    : mels_(mels), frames_(frames), rows_(rows), values_(rows * row_size()) {}

void FeatureStore::set(std::size_t row, std::span<const float> features) {
    auto* out = values_.data() + row * row_size();
    for (std::size_t i = 0; i < features.size(); ++i) out[i] = c10::Half(features[i]).x;
}

void FeatureStore::get(std::size_t row, std::span<float> features) const {
    const auto* in = values_.data() + row * row_size();
    for (std::size_t i = 0; i < features.size(); ++i) features[i] = c10::Half(in[i], c10::Half::from_bits());
}

void FeatureStore::keep(std::span<const std::size_t> rows) {
    auto* out = values_.data();
    for (const auto row : rows) {
        const auto* in = values_.data() + row * row_size();
        if (in != out) std::copy_n(in, row_size(), out);
        out += row_size();
    }
    rows_ = rows.size();
    values_.resize(rows_ * row_size());
}

FeatureStore compute_features(const FrontEnd& front_end, Dataset& dataset, int threads,
                              const OnFeatureProgress& on_progress) {
    const auto& parameters = front_end.parameters();
    FeatureStore store(parameters.mels, parameters.frames(), dataset.clips.size());
    FeatureWorkers workers(front_end, dataset, store);
    {
        std::vector<std::jthread> helpers;
        for (int i = 1; i < threads; ++i) helpers.emplace_back([&workers] { workers.run({}); });
        workers.run(on_progress);
    }
    workers.rethrow_failure();

    std::vector<std::size_t> kept;
    std::vector<Clip> clips;
    for (std::size_t row = 0; row < dataset.clips.size(); ++row) {
        auto& clip = dataset.clips[row];
        if (workers.reasons()[row].empty()) {
            kept.push_back(row);
            clips.push_back(std::move(clip));
        } else {
            dataset.left_out.push_back({.item = clip.audio.string(), .reason = workers.reasons()[row]});
        }
    }
    dataset.clips = std::move(clips);
    store.keep(kept);
    if (kept.empty()) {
        if (dataset.left_out.empty()) throw std::runtime_error("the dataset has no clips");
        const auto& last = dataset.left_out.back();
        throw std::runtime_error(
            fmt::format("no clip of the dataset can be used; the last: {}: {}", last.item, last.reason));
    }
    return store;
}

}  // namespace chorus
