#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "daemon/channel_analyser.h"
#include "daemon/ledger.h"
#include "daemon/model.h"
#include "daemon/window.h"
#include "streaming/lane_queue.h"

namespace chorus {

/// Cuts one source's sound into windows for a model, puts them into the source's lane of the queue, and books the
/// samples that get into none. One thread.
class WindowCutter {
  public:
    struct Wiring {
        std::size_t source;
        LaneQueue<Window>& queue;
        int queue_windows;  // room in the lane, for each channel
        double hop_seconds;
        Ledger& ledger;
        /// Fills in what the cutter doesn't know of a window: the times and the clock's state.
        std::function<void(Window&)> stamp;
        /// Whether the source is being stopped.
        std::function<bool()> stopping;
    };

    WindowCutter(std::shared_ptr<const Model> model, Wiring wiring)
        : wiring_(std::move(wiring)), model_(std::move(model)) {}

    /// Cuts for another model from now on. Where its front-end is the same, the next windows are its. Else both hear
    /// the sound from here on, and windows are cut for the old one until those of the new one leave nothing out: each
    /// sample is in a window of the one or the other, booked once, and each channel's windows of the new one follow on
    /// all of the old one's.
    void adopt(std::shared_ptr<const Model> model);
    /// No more sound comes; the model is let go.
    void leave_model() { model_.reset(); }

    /// Whether a stretch of sound is being cut.
    bool in_stretch() const { return !channels_.empty(); }
    int channels() const { return static_cast<int>(channels_.size()); }
    /// Between windows as they are cut now.
    double hop_seconds() const { return in_stretch() ? channels_[0].hop_seconds() : wiring_.hop_seconds; }

    /// Begins a stretch. live: a full lane drops its oldest window; else push_all waits for room. first_sample: the
    /// source's index. Throws std::invalid_argument for a rate the front-end can't take.
    void begin_stretch(int channels, int sample_rate_hz, std::int64_t first_sample, bool live);

    void widen_hop(double factor);
    /// Takes samples of one channel, of each channel equally many before push_all; the windows they complete wait for
    /// that.
    void cut(int channel, std::span<const float> samples);
    /// Puts the windows cut so far into the lane, by start, then channel, so that the order of events over all channels
    /// is the same for any block sizes.
    void push_all();

    /// Lets the last windows out and marks the end, so that open events are closed; nothing if there is no stretch.
    /// `rest`: how sound that no window holds is booked; kShutdown leaves the last windows out.
    void end_stretch(DropReason rest);

  private:
    /// A model that has not heard enough yet.
    struct Successor {
        std::shared_ptr<const Model> model;
        std::vector<ChannelAnalyser> channels;
    };
    std::vector<ChannelAnalyser> analysers(const Model& model, int channels, std::int64_t first_sample) const;
    ChannelAnalyser::Emit keep_for(int channel, const std::shared_ptr<const Model>& model, std::int64_t stretch);
    void succeed();
    void push(Window window);

    const Wiring wiring_;
    std::shared_ptr<const Model> model_;
    std::vector<ChannelAnalyser> channels_;
    std::optional<Successor> successor_;
    std::vector<Window> cut_;
    int sample_rate_hz_ = 0;
    std::int64_t stretch_ = 0;
    bool live_ = true;
};

}  // namespace chorus
