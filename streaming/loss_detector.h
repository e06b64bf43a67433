#pragma once

#include <cstdint>
#include <optional>

namespace chorus {

/// Finds lost samples of a live source from the timestamps of its buffers. Timestamps may jitter and their clock may
/// drift against the sample clock; only a jump is a loss. Pure arithmetic, one thread.
class LossDetector {
  public:
    /// Beyond this a late timestamp is a loss though no buffer was flagged.
    static constexpr std::int64_t kToleranceNs = 40'000'000;
    /// Where the stream itself says that something is missing, a small jump counts too.
    static constexpr std::int64_t kFlaggedToleranceNs = 1'000'000;

    /// No loss is longer: a source is opened anew long before. A later timestamp is that of a clock that jumped.
    static constexpr std::int64_t kLongestLossNs = 3'600'000'000'000;

    explicit LossDetector(int sample_rate_hz) : rate_hz_(sample_rate_hz) {}

    /// A buffer of `frames` with its timestamp (none: unknown) begins: how many samples were lost before it.
    std::int64_t lost_before(std::optional<std::int64_t> timestamp_ns, std::int64_t frames, bool flagged);

  private:
    int rate_hz_;
    std::optional<double> expected_ns_;  // the next buffer's timestamp if nothing is lost
};

}  // namespace chorus
