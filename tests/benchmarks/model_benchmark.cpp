#include <benchmark/benchmark.h>

#include "model/bundle.h"
#include "model/classifier.h"
#include "model/front_end.h"
#include "model/resampler.h"
#include "tests/model/formula_weights.h"
#include "tests/model/test_sounds.h"

namespace chorus {
namespace {

/// One second of one channel, in blocks of 10 ms.
template <typename Push>
void push_a_second(std::span<const float> second, int rate_hz, Push push) {
    const auto block = static_cast<std::size_t>(rate_hz / 100);
    for (std::size_t at = 0; at < second.size(); at += block) {
        push(second.subspan(at, std::min(block, second.size() - at)));
    }
}

void resample_channel_second(benchmark::State& state) {
    const auto rate_hz = static_cast<int>(state.range(0));
    const auto second = hiss(static_cast<std::size_t>(rate_hz));
    Resampler resampler(rate_hz, 16000);
    std::vector<float> out;
    for (auto _ : state) {
        out.clear();
        push_a_second(second, rate_hz, [&](std::span<const float> block) { resampler.push(block, out); });
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(resample_channel_second)->Arg(44100)->Arg(48000)->Arg(96000)->Arg(384000)->Unit(benchmark::kMillisecond);

/// Resampling, frames and the windows of a live stream: one every range(1) milliseconds.
void features_channel_second(benchmark::State& state) {
    const auto rate_hz = static_cast<int>(state.range(0));
    const FrontEnd front_end(FrontEndParameters{});
    const auto second = hiss(static_cast<std::size_t>(rate_hz));
    const std::int64_t hop = 16 * state.range(1);
    FeatureStream stream(front_end, rate_hz, hop);
    std::vector<float> features(front_end.parameters().feature_size());
    std::int64_t start = 0;
    for (auto _ : state) {
        push_a_second(second, rate_hz, [&](std::span<const float> block) {
            stream.push(block);
            for (; start + 48000 <= stream.available(); start += hop) stream.window(start, features);
        });
    }
}
BENCHMARK(features_channel_second)
    ->Args({48000, 500})
    ->Args({48000, 1000})
    ->Args({48000, 3000})
    ->Args({16000, 1000})
    ->Unit(benchmark::kMillisecond);

void features_of_whole_clip(benchmark::State& state) {
    const FrontEnd front_end(FrontEndParameters{});
    const auto clip = hiss(48000);
    std::vector<float> features(front_end.parameters().feature_size());
    for (auto _ : state) features_of_clip(front_end, clip, features);
}
BENCHMARK(features_of_whole_clip)->Unit(benchmark::kMillisecond);

void score_windows(benchmark::State& state) {
    Bundle bundle;
    bundle.architecture = state.range(0) == 0 ? Architecture::kMobileNetV3Large : Architecture::kMobileNetV3Small;
    for (int i = 0; i < 42; ++i) bundle.labels.push_back({.code = std::to_string(i), .name = {}, .group = {}});
    bundle.tensors = formula_weights(bundle.architecture, 42);
    const auto batch = static_cast<std::size_t>(state.range(1));
    const auto classifier = make_classifier(bundle, {.device = "cpu", .threads = static_cast<int>(state.range(2))});
    const auto window = formula_input(bundle.front_end.feature_size());
    const std::vector<std::span<const float>> windows(batch, window);
    std::vector<float> scores(batch * 42);
    for (auto _ : state) classifier->score(windows, scores);
    state.SetItemsProcessed(state.iterations() * state.range(1));
    state.SetLabel(to_string(bundle.architecture) + ", " + classifier->description());
}
BENCHMARK(score_windows)
    ->ArgNames({"small", "batch", "threads"})
    ->Args({0, 1, 1})
    ->Args({0, 8, 2})
    ->Args({1, 1, 1})
    ->Args({1, 8, 2})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace chorus
