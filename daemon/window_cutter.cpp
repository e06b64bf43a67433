#include "daemon/window_cutter.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace chorus {

void WindowCutter::adopt(std::shared_ptr<const Model> model) {
    successor_.reset();
    if (!in_stretch() || model->hears_as(*model_)) {
        model_ = std::move(model);
        return;
    }
    auto begun = analysers(*model, channels(), channels_[0].position());
    successor_ = Successor{.model = std::move(model), .channels = std::move(begun)};
}

void WindowCutter::begin_stretch(int channels, int sample_rate_hz, std::int64_t first_sample, bool live) {
    live_ = live;
    sample_rate_hz_ = sample_rate_hz;
    wiring_.ledger.ensure_channels(channels);
    wiring_.queue.set_capacity(wiring_.source, static_cast<std::size_t>(wiring_.queue_windows * channels));
    channels_ = analysers(*model_, channels, first_sample);
}

std::vector<ChannelAnalyser> WindowCutter::analysers(const Model& model, int channels,
                                                     std::int64_t first_sample) const {
    std::vector<ChannelAnalyser> begun;
    begun.reserve(static_cast<std::size_t>(channels));
    for (int channel = 0; channel < channels; ++channel)
        begun.emplace_back(model.front_end(), sample_rate_hz_, wiring_.hop_seconds, first_sample);
    return begun;
}

void WindowCutter::widen_hop(double factor) {
    for (auto& channel : channels_) channel.widen_hop(factor);
    if (!successor_) return;
    for (auto& channel : successor_->channels) channel.widen_hop(factor);
}

ChannelAnalyser::Emit WindowCutter::keep_for(int channel, const std::shared_ptr<const Model>& model,
                                             std::int64_t stretch) {
    return [this, channel, &model, stretch](Window&& window) {
        window.channel = channel;
        window.stretch = stretch;
        window.model = model;
        cut_.push_back(std::move(window));
    };
}

void WindowCutter::cut(int channel, std::span<const float> samples) {
    const auto number = static_cast<std::size_t>(channel);
    auto& analyser = channels_[number];
    analyser.hear(samples);
    analyser.cut(keep_for(channel, model_, stretch_));
    if (!successor_) return;
    auto& next = successor_->channels[number];
    next.hear(samples);
    if (analyser.booked_until() < next.first_sample()) return;  // what is between would be in no window
    next.leave_booked(analyser.booked_until());
    next.cut(keep_for(channel, successor_->model, stretch_ + 1));
}

// The successor takes over with its first windows, of all channels in one block.
void WindowCutter::succeed() {
    if (std::none_of(cut_.begin(), cut_.end(), [this](const Window& window) { return window.stretch > stretch_; }))
        return;
    model_ = std::move(successor_->model);
    channels_ = std::move(successor_->channels);
    successor_.reset();
    ++stretch_;
}

void WindowCutter::push_all() {
    succeed();
    auto windows = std::exchange(cut_, {});
    std::stable_sort(windows.begin(), windows.end(), [](const Window& a, const Window& b) {
        return std::tie(a.stretch, a.start_sample) < std::tie(b.stretch, b.start_sample);
    });
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
        if (rest != DropReason::kShutdown) left = analyser.finish(keep_for(channel, model_, stretch_));
        if (left > 0) wiring_.ledger.dropped(channel, left, rest);
    }
    push_all();
    for (int channel = 0; channel < channels(); ++channel) {
        Window end;
        end.channel = channel;
        end.stretch = stretch_;
        push(std::move(end));
    }
    channels_.clear();
    ++stretch_;
    if (successor_) model_ = std::move(successor_->model);
    successor_.reset();
}

void WindowCutter::push(Window window) {
    const auto channel = window.channel;
    const auto stretch = window.stretch;
    const auto end_sample = window.end_sample;
    window.source = wiring_.source;
    window.hop_seconds = hop_seconds();
    wiring_.stamp(window);
    window.queued = std::chrono::steady_clock::now();
    const auto refused = live_ ? wiring_.queue.push_drop_oldest(wiring_.source, std::move(window))
                               : wiring_.queue.push_wait(wiring_.source, std::move(window));
    if (!refused || refused->booked_samples == 0) return;
    // A closed queue hands back the very window: either all is being stopped, or the analysis has failed.
    const bool closed = refused->channel == channel && refused->stretch == stretch && refused->end_sample == end_sample;
    const auto reason = wiring_.stopping() ? DropReason::kShutdown
                        : closed           ? DropReason::kError
                                           : DropReason::kOverload;
    wiring_.ledger.dropped(refused->channel, refused->booked_samples, reason);
}

}  // namespace chorus
