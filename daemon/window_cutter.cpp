#include "daemon/window_cutter.h"

#include <algorithm>
#include <utility>

namespace chorus {

void WindowCutter::begin_stretch(int channels, int sample_rate_hz, std::int64_t first_sample, bool live) {
    live_ = live;
    wiring_.ledger.ensure_channels(channels);
    wiring_.queue.set_capacity(wiring_.source, static_cast<std::size_t>(wiring_.queue_windows * channels));
    std::vector<ChannelAnalyser> begun;
    begun.reserve(static_cast<std::size_t>(channels));
    for (int channel = 0; channel < channels; ++channel) {
        begun.emplace_back(wiring_.front_end, sample_rate_hz, wiring_.hop_seconds, first_sample);
    }
    channels_ = std::move(begun);
}

void WindowCutter::widen_hop(double factor) {
    for (auto& channel : channels_) channel.widen_hop(factor);
}

ChannelAnalyser::Emit WindowCutter::keep_for(int channel) {
    return [this, channel](Window&& window) {
        window.channel = channel;
        cut_.push_back(std::move(window));
    };
}

void WindowCutter::cut(int channel, std::span<const float> samples) {
    channels_[static_cast<std::size_t>(channel)].push(samples, keep_for(channel));
}

void WindowCutter::push_all() {
    auto windows = std::exchange(cut_, {});
    std::stable_sort(windows.begin(), windows.end(),
                     [](const Window& a, const Window& b) { return a.start_sample < b.start_sample; });
    auto window = windows.begin();
    try {
        for (; window != windows.end(); ++window) push(std::move(*window));
    } catch (...) {
        for (; window != windows.end(); ++window)
            wiring_.ledger.dropped(window->channel, window->booked_samples, DropReason::kError);
        throw;
    }
}

void WindowCutter::end_stretch(DropReason rest) {
    if (!in_stretch()) return;
    for (int channel = 0; channel < channels(); ++channel) {
        auto& analyser = channels_[static_cast<std::size_t>(channel)];
        std::int64_t left = analyser.unbooked();
        if (rest != DropReason::kShutdown) left = analyser.finish(keep_for(channel));
        if (left > 0) wiring_.ledger.dropped(channel, left, rest);
    }
    push_all();
    for (int channel = 0; channel < channels(); ++channel) {
        Window end;
        end.channel = channel;
        push(std::move(end));
    }
    channels_.clear();
    ++stretch_;
}

void WindowCutter::push(Window window) {
    const auto channel = window.channel;
    const auto end_sample = window.end_sample;
    window.source = wiring_.source;
    window.stretch = stretch_;
    window.hop_seconds = hop_seconds();
    wiring_.stamp(window);
    window.queued = std::chrono::steady_clock::now();
    const auto refused = live_ ? wiring_.queue.push_drop_oldest(wiring_.source, std::move(window))
                               : wiring_.queue.push_wait(wiring_.source, std::move(window));
    if (!refused || refused->booked_samples == 0) return;
    // A closed queue hands back the very window: either all is being stopped, or the analysis has failed.
    const bool closed =
        refused->channel == channel && refused->stretch == stretch_ && refused->end_sample == end_sample;
    const auto reason = wiring_.stopping() ? DropReason::kShutdown
                        : closed           ? DropReason::kError
                                           : DropReason::kOverload;
    wiring_.ledger.dropped(refused->channel, refused->booked_samples, reason);
}

}  // namespace chorus
