#include "trainer/compute_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

#include "model/bundle.h"
#include "trainer/audio_file.h"
#include "trainer/feature_cache.h"
#include "trainer/mapped_file.h"
#include "trainer/training.h"
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

std::vector<float> read(Run run, const FrontEndParameters& parameters) {
    return run.front().offset_seconds ? read_run(run, parameters) : read_whole_clip(run.front(), parameters);
}

/// Features as they are made, window by window.
class RunBuilder {
  public:
    explicit RunBuilder(const FrontEnd& front_end)
        : front_end_(front_end), of_window_(front_end.parameters().feature_size()) {}

    /// samples: what was read of the run.
    void add(Run run, std::span<const float> samples) {
        rows_->reserve(rows_->size() + run.size() * of_window_.size());
        for (const auto& clip : run) {
            try {
                const double begin = clip.offset_seconds ? *clip.offset_seconds - *run.front().offset_seconds : 0.0;
                const auto window = window_in(samples, begin, front_end_.parameters());
                require_sound(window);
                scales_.push_back(features_of_clip(front_end_, window, of_window_));
                const auto row = to_halves(of_window_);
                rows_->insert(rows_->end(), row.begin(), row.end());
                left_out_.emplace_back();
            } catch (const std::runtime_error& error) {
                leave_out(error.what());
            }
        }
    }

    void leave_out(std::string reason) { left_out_.push_back(std::move(reason)); }

    RunFeatures take() {
        return {.left_out = std::move(left_out_), .scales = std::move(scales_), .rows = {rows_, rows_->data()}};
    }

  private:
    const FrontEnd& front_end_;
    std::vector<float> of_window_;
    std::vector<std::string> left_out_;
    std::vector<WindowScale> scales_;
    std::shared_ptr<std::vector<std::uint16_t>> rows_ = std::make_shared<std::vector<std::uint16_t>>();
};

/// Nothing where it can't be read in one go.
std::optional<RunFeatures> make_at_once(const FrontEnd& front_end, Run run) {
    try {
        RunBuilder builder(front_end);
        builder.add(run, read(run, front_end.parameters()));
        return builder.take();
    } catch (const std::runtime_error&) {
        return std::nullopt;
    }
}

/// One bad place in a recording spoils only the windows that hold it.
RunFeatures make_one_by_one(const FrontEnd& front_end, Run run) {
    RunBuilder builder(front_end);
    for (std::size_t i = 0; i < run.size(); ++i) {
        const auto single = run.subspan(i, 1);
        try {
            builder.add(single, read(single, front_end.parameters()));
        } catch (const std::runtime_error& error) {
            builder.leave_out(error.what());
        }
    }
    return builder.take();
}

/// Which features a file's are: the SHA-256 of all its bytes, computed once, by whoever asks first.
class AudioContents {
  public:
    explicit AudioContents(std::span<const Run> runs) {
        for (const auto& run : runs) contents_[run.front().audio];
    }

    /// Empty for a file that can't be read.
    const std::string& of(const std::filesystem::path& audio) {
        auto& content = contents_.at(audio);
        std::call_once(content.once, [&] {
            try {
                content.sha256 = sha256_hex(MappedFile(audio).bytes());
            } catch (const std::runtime_error&) {  // said when it is read as sound
            }
        });
        return content.sha256;
    }

  private:
    struct Content {
        std::once_flag once;
        std::string sha256;
    };
    std::map<std::filesystem::path, Content> contents_;
};

/// All that decides a run's features beside the front-end. Of a long recording each window's depend on where the run
/// begins and ends, as the resampler knows nothing beyond.
std::string key_of(const std::string& content, Run run) {
    auto text = fmt::format("{} {}", content, run.front().channel.value_or(-1));
    for (const auto& clip : run)
        if (clip.offset_seconds) text += fmt::format(" {:a}", *clip.offset_seconds);
    return sha256_hex(std::as_bytes(std::span(text)));
}

/// Calls work(0) to work(count - 1), each once, from so many threads, and `after` each time on the calling thread.
void in_parallel(std::size_t count, int threads, const std::function<void(std::size_t)>& work,
                 const std::function<void()>& after) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::exception_ptr failure;  // guarded by mutex
    const auto run = [&](bool tells) noexcept {
        try {
            for (std::size_t i = next++; i < count && !failed; i = next++) {
                work(i);
                if (tells) after();
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            failure = std::current_exception();
            failed = true;
        }
    };
    {
        std::vector<std::jthread> helpers;
        for (int i = 1; i < threads; ++i) helpers.emplace_back(run, false);
        run(true);
    }
    if (failure) std::rethrow_exception(failure);
}

/// Of each run, by so many threads.
std::vector<RunFeatures> make_features(const FrontEnd& front_end, std::span<const Run> runs,
                                       const FeatureOptions& options, const std::function<void(std::size_t)>& after) {
    std::vector<RunFeatures> features(runs.size());
    std::vector<std::string> keys(runs.size());  // of those that the cache is yet to give
    std::optional<FeatureCache> cache;
    if (!options.cache.empty()) cache.emplace(options.cache, front_end);
    AudioContents contents(runs);
    std::atomic<std::size_t> done{0};
    const auto make = [&](std::size_t i) {
        const auto content = cache ? contents.of(runs[i].front().audio) : std::string();
        const auto key = content.empty() ? std::string() : key_of(content, runs[i]);
        auto known = key.empty() ? std::nullopt : cache->find(key);
        const bool found = known.has_value();
        if (!found) known = make_at_once(front_end, runs[i]);
        if (known && !found && !key.empty()) {
            cache->add(key, *known);
            keys[i] = key;
        } else {
            // What can't be read may be so for a while alone: it isn't cached.
            features[i] = known ? std::move(*known) : make_one_by_one(front_end, runs[i]);
        }
        done += runs[i].size();
    };
    in_parallel(runs.size(), options.threads, make, [&] { after(done); });
    if (cache) cache->finish();
    for (std::size_t i = 0; i < runs.size(); ++i) {
        if (keys[i].empty()) continue;
        auto found = cache->find(keys[i]);
        if (!found) throw std::runtime_error(fmt::format("{}: lost what was written there", options.cache.string()));
        features[i] = std::move(*found);
    }
    return features;
}

LeftOut left_out_of(const Clip& clip, const std::string& reason) {
    auto left_out = chorus::left_out_of(clip.audio, reason);
    if (clip.offset_seconds) left_out.item += fmt::format(" at {:g} s", *clip.offset_seconds);
    return left_out;
}

}  // namespace

FeatureStore compute_features(const FrontEnd& front_end, Dataset& dataset, const FeatureOptions& options,
                              const OnFeatureProgress& on_progress) {
    const auto& parameters = front_end.parameters();
    const auto runs = runs_of(dataset.clips, parameters.window_seconds);
    const auto features = make_features(front_end, runs, options, [&](std::size_t done) {
        if (on_progress) on_progress(done, dataset.clips.size());
        if (options.must_stop && options.must_stop()) throw Interrupted("stopped while features were computed");
    });

    FeatureStore store(parameters);
    std::vector<Clip> kept;
    auto clip = dataset.clips.begin();
    for (const auto& [left_out, scales, rows] : features) {
        std::size_t row = 0;
        for (const auto& reason : left_out) {
            if (reason.empty()) {
                store.add({rows, rows.get() + row * parameters.feature_size()}, scales[row]);
                ++row;
                kept.push_back(std::move(*clip));
            } else {
                dataset.left_out.push_back(left_out_of(*clip, reason));
            }
            ++clip;
        }
    }
    dataset.clips = std::move(kept);
    if (dataset.clips.empty()) {
        if (dataset.left_out.empty()) throw std::runtime_error("the dataset has no clips");
        const auto& last = dataset.left_out.back();
        throw std::runtime_error(
            fmt::format("no clip of the dataset can be used; the last: {}: {}", last.item, last.reason));
    }
    return store;
}

}  // namespace chorus
