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
#include "trainer/windows.h"

namespace chorus {
namespace {

/// Windows of one recording that are read in one go last no longer than this.
constexpr double kRunSeconds = 600.0;

/// Less between the highest and the lowest sample is no sound: half a step of 16 bits.
constexpr float kSilence = 0.5F / 32768.0F;

/// Clips that are read in one go: a clip of its own, or neighbouring windows of one recording, in ascending order.
using Run = std::span<const Clip>;

/// How many clips from the first on make a run.
std::size_t length_of_run(std::span<const Clip> clips, double window_seconds) {
    const auto& first = clips.front();
    std::size_t length = 1;
    while (first.offset_seconds && length < clips.size()) {
        const auto& clip = clips[length];
        const bool follows = clip.audio == first.audio && clip.channel == first.channel && clip.offset_seconds &&
                             *clip.offset_seconds >= *clips[length - 1].offset_seconds &&
                             *clip.offset_seconds + window_seconds <= *first.offset_seconds + kRunSeconds;
        if (!follows) break;
        ++length;
    }
    return length;
}

std::vector<Run> runs_of(std::span<const Clip> clips, double window_seconds) {
    std::vector<Run> runs;
    while (!clips.empty()) {
        const auto length = length_of_run(clips, window_seconds);
        runs.push_back(clips.first(length));
        clips = clips.subspan(length);
    }
    return runs;
}

void require_sound(std::span<const float> samples) {
    const auto [lowest, highest] = std::minmax_element(samples.begin(), samples.end());
    if (samples.empty() || *highest - *lowest < kSilence) throw std::runtime_error("is silent");
}

/// A clip that is a file of its own: exactly window_samples() long, or else it is another than the manifest says.
std::vector<float> read_whole_clip(const Clip& clip, const FrontEndParameters& parameters) {
    const double longest = parameters.window_seconds + 2 * kLengthToleranceSeconds;
    auto samples = read_audio(clip.audio, parameters.sample_rate_hz,
                              {.start_seconds = 0.0, .seconds = longest, .channel = clip.channel});
    const double seconds = static_cast<double>(samples.size()) / parameters.sample_rate_hz;
    if (std::abs(seconds - parameters.window_seconds) > kLengthToleranceSeconds) {
        const char* relation = seconds < parameters.window_seconds ? "only " : "more than ";
        throw std::runtime_error(fmt::format("lasts {}{:.2f} s, a window {:g} s", relation,
                                             std::min(seconds, parameters.window_seconds), parameters.window_seconds));
    }
    samples.resize(static_cast<std::size_t>(parameters.window_samples()));
    return samples;
}

/// Part of a recording, with as many zeros after it as its length was rounded down by.
std::vector<float> read_run(Run run, const FrontEndParameters& parameters) {
    const double begin = *run.front().offset_seconds;
    const double seconds = *run.back().offset_seconds + parameters.window_seconds - begin;
    auto samples = read_audio(run.front().audio, parameters.sample_rate_hz,
                              {.start_seconds = begin, .seconds = seconds, .channel = run.front().channel});
    const auto tolerance = static_cast<std::size_t>(kLengthToleranceSeconds * parameters.sample_rate_hz);
    const auto wanted = static_cast<std::size_t>(std::llround(seconds * parameters.sample_rate_hz));
    if (samples.size() < wanted && samples.size() + tolerance >= wanted) samples.resize(wanted);
    return samples;
}

std::span<const float> window_in(std::span<const float> samples, double seconds, const FrontEndParameters& parameters) {
    const auto begin = static_cast<std::size_t>(std::llround(seconds * parameters.sample_rate_hz));
    const auto size = static_cast<std::size_t>(parameters.window_samples());
    if (begin + size > samples.size())
        throw std::runtime_error(fmt::format(
            "ends after {:.2f} s of its {:g} s",
            static_cast<double>(samples.size() - std::min(begin, samples.size())) / parameters.sample_rate_hz,
            parameters.window_seconds));
    return samples.subspan(begin, size);
}

/// Computes runs until none is left; several threads share one.
class FeatureWorkers {
  public:
    FeatureWorkers(const FrontEnd& front_end, const Dataset& dataset, FeatureStore& store)
        : front_end_(front_end),
          first_(dataset.clips.data()),
          runs_(runs_of(dataset.clips, front_end.parameters().window_seconds)),
          store_(store),
          reasons_(dataset.clips.size()) {}

    void run(const OnFeatureProgress& on_progress) noexcept {
        std::vector<float> features(front_end_.parameters().feature_size());
        try {
            for (std::size_t i = next_++; i < runs_.size() && !failed_; i = next_++) {
                compute(runs_[i], features);
                const auto done = done_ += runs_[i].size();
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
    void compute(Run run, std::vector<float>& features) {
        const auto& parameters = front_end_.parameters();
        std::vector<float> samples;
        try {
            samples = run.front().offset_seconds ? read_run(run, parameters) : read_whole_clip(run.front(), parameters);
        } catch (const std::runtime_error& error) {
            // One bad place in a recording spoils only the windows that hold it.
            if (run.size() == 1)
                reasons_[row_of(run.front())] = error.what();
            else
                for (std::size_t i = 0; i < run.size(); ++i) compute(run.subspan(i, 1), features);
            return;
        }
        for (const auto& clip : run) {
            try {
                const double begin = clip.offset_seconds ? *clip.offset_seconds - *run.front().offset_seconds : 0.0;
                const auto window = window_in(samples, begin, parameters);
                require_sound(window);
                features_of_clip(front_end_, window, features);
                store_.set(row_of(clip), features);
            } catch (const std::runtime_error& error) {
                reasons_[row_of(clip)] = error.what();
            }
        }
    }

    std::size_t row_of(const Clip& clip) const { return static_cast<std::size_t>(&clip - first_); }

    const FrontEnd& front_end_;
    const Clip* first_;
    const std::vector<Run> runs_;
    FeatureStore& store_;
    std::vector<std::string> reasons_;  // each row written by one thread
    std::atomic<std::size_t> next_{0};
    std::atomic<std::size_t> done_{0};
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::exception_ptr failure_;  // guarded by mutex_ until the threads are joined
};

LeftOut left_out_of(const Clip& clip, const std::string& reason) {
    auto left_out = chorus::left_out_of(clip.audio, reason);
    if (clip.offset_seconds) left_out.item += fmt::format(" at {:g} s", *clip.offset_seconds);
    return left_out;
}

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
            dataset.left_out.push_back(left_out_of(clip, workers.reasons()[row]));
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
