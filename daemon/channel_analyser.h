#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "daemon/window.h"
#include "model/front_end.h"
#include "streaming/windower.h"

namespace chorus {

/// Cuts one unbroken stretch of one channel into windows of features. One thread.
class ChannelAnalyser {
  public:
    using Emit = std::function<void(Window&&)>;

    /// first_sample: the source's index of the stretch's first sample. Windows come with positions, booked samples and
    /// features filled in; the rest is the caller's.
    ChannelAnalyser(std::shared_ptr<const FrontEnd> front_end, int sample_rate_hz, double hop_seconds,
                    std::int64_t first_sample);

    /// Windows begin `factor` times the hop apart from now on, at most a window.
    void widen_hop(double factor);
    double hop_seconds() const;

    /// Takes samples in; cut() lets the windows out that are whole by then.
    void hear(std::span<const float> samples);
    void cut(const Emit& emit);

    /// The stretch has ended: its last window comes out, aligned to the end. Returns the samples no window holds:
    /// all of them if the stretch was shorter than a window, else none but a sample or two of rounding between rates.
    std::int64_t finish(const Emit& emit);

    /// The source's indices of the first sample, of the first that no window holds so far, and of the next to come.
    std::int64_t first_sample() const { return first_sample_; }
    std::int64_t booked_until() const { return first_sample_ + booked_; }
    std::int64_t position() const { return first_sample_ + heard_; }
    /// Samples heard that no window holds so far.
    std::int64_t unbooked() const { return heard_ - booked_; }
    /// What comes before this index is booked with another's windows.
    void leave_booked(std::int64_t index);

  private:
    void cut_out(const SampleSpan& span, const Emit& emit);
    std::int64_t to_source(std::int64_t model_position) const;

    std::shared_ptr<const FrontEnd> front_end_;
    int sample_rate_hz_;
    std::int64_t first_sample_;
    std::int64_t hop_;      // at the model's rate
    std::int64_t widened_;  // hop in use
    FeatureStream features_;
    Windower windower_;
    std::int64_t heard_ = 0;
    std::int64_t booked_ = 0;
    bool ended_ = false;
};

}  // namespace chorus
