#pragma once
// Fakes with behaviour for the pipeline's seams.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <numbers>
#include <random>
#include <thread>
#include <vector>

#include "daemon/pipeline.h"

namespace chorus {

inline FrontEndParameters coarse_front_end() {
    FrontEndParameters parameters;
    parameters.window_seconds = 1.0;
    parameters.hop = 256;
    parameters.mels = 32;
    return parameters;
}

/// One class, TONE, told by a classifier that looks at the mel row of 1 kHz.
inline Bundle tone_bundle() {
    Bundle bundle;
    bundle.id = "0123456789abcdef";
    bundle.front_end = coarse_front_end();
    bundle.labels = {{.code = "TONE", .name = "Tonus purus", .group = ""}};
    bundle.thresholds = {0.35F};  // white noise scores 0.23, a second of tone 0.66
    return bundle;
}

/// score = how much the loudest mel row's mean stands above the mean of all rows.
class ToneClassifier : public Classifier {
  public:
    explicit ToneClassifier(std::chrono::milliseconds delay = {},
                            const FrontEndParameters& parameters = coarse_front_end())
        : delay_(delay), parameters_(parameters) {}
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        std::unique_lock lock(mutex_);
        resumed_.wait(lock, [this] { return !held_; });
        std::this_thread::sleep_for(delay_);
        const auto frames = static_cast<std::size_t>(parameters_.frames());
        for (std::size_t i = 0; i < windows.size(); ++i) {
            double all = 0;
            double loudest = 0;
            for (std::size_t mel = 0; mel < static_cast<std::size_t>(parameters_.mels); ++mel) {
                double row = 0;
                for (std::size_t frame = 0; frame < frames; ++frame)
                    row += static_cast<double>(windows[i][mel * frames + frame]);
                all += row;
                loudest = std::max(loudest, row);
            }
            scores[i] = static_cast<float>(loudest / static_cast<double>(frames) -
                                           all / static_cast<double>(windows[i].size()));
        }
    }
    std::size_t classes() const override { return 1; }
    std::string description() const override { return "fake"; }
    /// While held, score() waits: the analysis falls behind.
    void hold(bool held) {
        {
            const std::lock_guard lock(mutex_);
            held_ = held;
        }
        resumed_.notify_all();
    }

  private:
    const std::chrono::milliseconds delay_;
    const FrontEndParameters parameters_;
    std::mutex mutex_;
    std::condition_variable resumed_;
    bool held_ = false;
};

struct Burst {
    double start_s;
    double end_s;
};

/// A test's own classifier, which outlives it.
class LentClassifier : public Classifier {
  public:
    explicit LentClassifier(Classifier& own) : own_(own) {}
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        own_.score(windows, scores);
    }
    std::size_t classes() const override { return own_.classes(); }
    bool gains_from_batches() const override { return own_.gains_from_batches(); }
    std::string description() const override { return own_.description(); }
    std::unique_ptr<Classifier> for_another_thread() const override { return own_.for_another_thread(); }

  private:
    Classifier& own_;
};

inline std::shared_ptr<const Model> model_of(Bundle bundle, Classifier& classifier, std::size_t most = 16) {
    return std::make_shared<const Model>(std::move(bundle), std::make_unique<LentClassifier>(classifier), most);
}

/// White noise, with a 1 kHz tone in the bursts.
inline std::vector<float> noise_with_tones(int rate_hz, double seconds, const std::vector<Burst>& bursts,
                                           unsigned seed = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(0.0F, 0.01F);
    std::vector<float> samples(static_cast<std::size_t>(seconds * rate_hz));
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const double t = static_cast<double>(i) / rate_hz;
        samples[i] = noise(random);
        for (const auto& burst : bursts) {
            if (t >= burst.start_s && t < burst.end_s)
                samples[i] += static_cast<float>(0.3 * std::sin(2 * std::numbers::pi * 1000 * t));
        }
    }
    return samples;
}

/// A ToneClassifier for as many threads as want one, whose windows take longer or shorter, so that they overtake one
/// another.
class UnevenToneClassifier : public ToneClassifier {
  public:
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        std::this_thread::sleep_for(std::chrono::microseconds(random_() % 3000));
        ToneClassifier::score(windows, scores);
    }
    std::unique_ptr<Classifier> for_another_thread() const override {
        auto another = std::make_unique<UnevenToneClassifier>();
        another->random_.seed(++made_);
        return another;
    }

  private:
    std::mt19937 random_{0};
    mutable unsigned made_ = 0;
};

/// Hands out a script of blocks and gaps, then ends.
class ScriptedSource : public AudioSource {
  public:
    ScriptedSource(std::vector<SourceItem> items, bool live) : items_(std::move(items)), live_(live) {}
    SourceItem read(std::chrono::milliseconds) override {
        if (stopped_ || next_ == items_.size()) return EndOfStream{};
        auto item = items_[next_++];
        if (auto* block = std::get_if<AudioBlock>(&item)) block->received = std::chrono::steady_clock::now();
        return item;
    }
    bool is_live() const override { return live_; }
    void request_stop() noexcept override { stopped_ = true; }

  private:
    std::vector<SourceItem> items_;
    std::size_t next_ = 0;
    bool live_;
    std::atomic<bool> stopped_{false};
};

/// channels: samples of each, all of one length -> interleaved blocks of the sizes that `size` gives.
inline std::vector<SourceItem> cut_into_blocks(const std::vector<std::vector<float>>& channels, int rate_hz,
                                               const std::function<std::size_t()>& size,
                                               std::int64_t first_sample = 0) {
    std::vector<SourceItem> items;
    for (std::size_t at = 0; at < channels[0].size();) {
        const std::size_t frames = std::min(std::max<std::size_t>(size(), 1), channels[0].size() - at);
        AudioBlock block;
        block.first_sample = first_sample + static_cast<std::int64_t>(at);
        block.sample_rate_hz = rate_hz;
        block.channels = static_cast<int>(channels.size());
        for (std::size_t i = at; i < at + frames; ++i) {
            for (const auto& channel : channels) block.samples.push_back(channel[i]);
        }
        at += frames;
        items.emplace_back(std::move(block));
    }
    return items;
}

/// Live sound without an end, some 20 times as fast as it would come: a second of tone, two of noise.
class EndlessSource : public AudioSource {
  public:
    static constexpr int kRate = 16'000;

    explicit EndlessSource(int channels = 1) : channels_(channels) {}
    SourceItem read(std::chrono::milliseconds) override {
        if (stopped_) return EndOfStream{};
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        static const auto sound = noise_with_tones(kRate, 3.0, {{1.0, 2.0}});
        AudioBlock block{.first_sample = next_,
                         .sample_rate_hz = kRate,
                         .channels = channels_,
                         .samples = {},
                         .capture_time = {},
                         .received = {}};
        for (int i = 0; i < kRate / 10; ++i, ++next_) {
            for (int channel = 0; channel < channels_; ++channel)
                block.samples.push_back(sound[static_cast<std::size_t>(next_) % sound.size()]);
        }
        block.received = std::chrono::steady_clock::now();
        return block;
    }
    bool is_live() const override { return true; }
    void request_stop() noexcept override { stopped_ = true; }

  private:
    const int channels_;
    std::int64_t next_ = 0;
    std::atomic<bool> stopped_{false};
};

/// Holds up whoever passes until it is opened. Held by whoever waits, too, as those may outlive a test.
/// Whether `holds` comes true within half a minute or so.
inline bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 15'000; ++i) {
        if (holds()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
}

class Gate {
  public:
    void pass() {
        std::unique_lock lock(mutex_);
        opened_.wait(lock, [this] { return open_; });
    }
    void open() {
        {
            const std::lock_guard lock(mutex_);
            open_ = true;
        }
        opened_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

class RecordingSink : public DetectionSink {
  public:
    void on_event(Event event) override {
        const std::lock_guard lock(mutex_);
        events_.push_back(std::move(event));
    }
    std::vector<Event> events() const {
        const std::lock_guard lock(mutex_);
        return events_;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<Event> events_;
};

}  // namespace chorus
