#include "daemon/channel_analyser.h"

#include <algorithm>
#include <cmath>

namespace chorus {
namespace {

std::int64_t hop_samples(const FrontEndParameters& parameters, double hop_seconds) {
    const auto hop = static_cast<std::int64_t>(std::llround(hop_seconds * parameters.sample_rate_hz));
    return std::clamp<std::int64_t>(hop, 1, parameters.window_samples());
}

}  // namespace

ChannelAnalyser::ChannelAnalyser(std::shared_ptr<const FrontEnd> front_end, int sample_rate_hz, double hop_seconds,
                                 std::int64_t first_sample)
    : front_end_(std::move(front_end)),
      sample_rate_hz_(sample_rate_hz),
      first_sample_(first_sample),
      hop_(hop_samples(front_end_->parameters(), hop_seconds)),
      widened_(hop_),
      features_(*front_end_, sample_rate_hz, hop_),
      windower_(front_end_->parameters().window_samples(), hop_) {}

void ChannelAnalyser::widen_hop(double factor) {
    widened_ = std::min<std::int64_t>(std::llround(static_cast<double>(hop_) * factor),
                                      front_end_->parameters().window_samples());
    windower_.set_hop(widened_);
}

double ChannelAnalyser::hop_seconds() const {
    return static_cast<double>(widened_) / front_end_->parameters().sample_rate_hz;
}

void ChannelAnalyser::hear(std::span<const float> samples) {
    heard_ += static_cast<std::int64_t>(samples.size());
    features_.push(samples);
}

void ChannelAnalyser::cut(const Emit& emit) {
    while (const auto span = windower_.next(features_.available())) cut_out(*span, emit);
}

void ChannelAnalyser::leave_booked(std::int64_t index) {
    booked_ = std::max(booked_, index - first_sample_);
}

std::int64_t ChannelAnalyser::finish(const Emit& emit) {
    features_.finish();
    ended_ = true;
    cut(emit);
    if (const auto span = windower_.last(features_.available())) cut_out(*span, emit);
    return unbooked();
}

void ChannelAnalyser::cut_out(const SampleSpan& span, const Emit& emit) {
    // The last window of a stretch ends with its last sample, whatever the rates' rounding says.
    const bool is_last = ended_ && span.end == features_.available();
    const std::int64_t end = is_last ? heard_ : std::min(to_source(span.end), heard_);
    Window window;
    window.start_sample = first_sample_ + to_source(span.start);
    window.end_sample = first_sample_ + end;
    window.booked_samples = std::max<std::int64_t>(end - booked_, 0);
    window.sample_rate_hz = sample_rate_hz_;
    window.features.resize(front_end_->parameters().feature_size());
    features_.window(span.start, window.features);
    booked_ = std::max(booked_, end);
    emit(std::move(window));
}

std::int64_t ChannelAnalyser::to_source(std::int64_t model_position) const {
    const std::int64_t model_rate = front_end_->parameters().sample_rate_hz;
    return (model_position * sample_rate_hz_ + model_rate / 2) / model_rate;
}

}  // namespace chorus
