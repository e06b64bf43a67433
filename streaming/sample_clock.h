#pragma once

#include <cstdint>
#include <optional>

#include "streaming/audio_block.h"

namespace chorus {

/// Sample index <-> UTC of one source, by the last observation of both. One thread.
class SampleClock {
  public:
    /// The sample at `index` was captured at `time`; sound goes on at `sample_rate_hz` from there.
    void observe(std::int64_t index, UtcTime time, int sample_rate_hz) {
        index_ = index;
        time_ = time;
        sample_rate_hz_ = sample_rate_hz;
    }

    /// Empty before the first observation. Rounded down to microseconds.
    std::optional<UtcTime> utc(std::int64_t index) const {
        if (sample_rate_hz_ == 0) return std::nullopt;
        return time_ + offset(index - index_, sample_rate_hz_);
    }

    /// What `samples` last, exact where a plain product would overflow after 3 years at 96 kHz.
    static std::chrono::microseconds offset(std::int64_t samples, int sample_rate_hz) {
        const std::int64_t whole = samples / sample_rate_hz;
        std::int64_t rest = samples % sample_rate_hz * 1'000'000;
        if (rest < 0) rest -= sample_rate_hz - 1;
        return std::chrono::seconds(whole) + std::chrono::microseconds(rest / sample_rate_hz);
    }

  private:
    std::int64_t index_ = 0;
    UtcTime time_{};
    int sample_rate_hz_ = 0;
};

/// Whether the kernel holds the system's clock to be synchronised (adjtimex); false where it won't say.
bool system_clock_is_synced();

}  // namespace chorus
