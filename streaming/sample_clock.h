#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "streaming/audio_block.h"

namespace chorus {

/// Sample index <-> UTC of one source, estimated from the capture times of its blocks. One thread.
///
/// With a residual r = observed UTC - (anchor + index / rate), the medians of the residuals of each second are fitted
/// by a line r = level + slope * t over at most ten minutes. The slope is believed once its standard error is below 5
/// ppm (after 1 minute of steady capture times, after 6 of times that jitter by 30 ms); the level is the mean over the
/// last minute, so that jitter doesn't show. Residuals that stay more than 250 ms off for half a second are a step of a
/// clock.
class SampleClock {
  public:
    /// The sample at `index` was captured at `time`. Indices rise. True when this showed that a clock was set: UTC
    /// follows it from here on, and the rate error is kept.
    bool observe(std::int64_t index, UtcTime time, int sample_rate_hz);

    /// The sample at `index` had been captured by `time`, when it arrived. A stream that begins with a burst, or comes
    /// in segments, is dated by what came soonest: UTC goes back at once to where no sample comes before it sounded.
    bool observe_arrival(std::int64_t index, UtcTime time, int sample_rate_hz);

    /// The next observation begins anew: indices or the clock don't continue. The rate error is kept.
    void restart();

    /// Empty before the first observation. Rounded down to microseconds.
    std::optional<UtcTime> utc(std::int64_t index) const;

    /// By how much the source's sample clock runs fast against UTC, in parts per million; empty until it is known.
    std::optional<double> drift_ppm() const;

    /// What `samples` last, exact where a plain product would overflow after 3 years at 96 kHz.
    static std::chrono::microseconds offset(std::int64_t samples, int sample_rate_hz) {
        const std::int64_t whole = samples / sample_rate_hz;
        std::int64_t rest = samples % sample_rate_hz * 1'000'000;
        if (rest < 0) rest -= sample_rate_hz - 1;
        return std::chrono::seconds(whole) + std::chrono::microseconds(rest / sample_rate_hz);
    }

  private:
    struct Point {
        double seconds;   // since the anchor, by the sample index
        double residual;  // in seconds
    };

    void anchor(std::int64_t index, UtcTime time);
    bool is_step(const Point& point);
    void add(const Point& point);
    void close_second();
    void fit();
    double predicted(double seconds) const { return level_ + slope_.value_or(0.0) * seconds; }

    int sample_rate_hz_ = 0;
    bool anchored_ = false;
    std::int64_t anchor_index_ = 0;
    UtcTime anchor_time_{};

    std::vector<Point> second_;   // the observations of the second under way
    std::vector<Point> suspect_;  // far off what was predicted: outliers, or a step
    std::deque<Point> seconds_;   // medians
    std::optional<double> slope_;
    double level_ = 0;
};

/// Whether the kernel holds the system's clock to be synchronised (adjtimex); false where it won't say.
bool system_clock_is_synced();

}  // namespace chorus
