#include "streaming/loss_detector.h"

#include <cmath>

namespace chorus {
namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kDriftTimeConstantSeconds = 10;

}  // namespace

std::int64_t LossDetector::lost_before(std::optional<std::int64_t> timestamp_ns, std::int64_t frames, bool flagged) {
    const double duration_ns = static_cast<double>(frames) * kNsPerSecond / rate_hz_;
    if (!timestamp_ns) {
        if (expected_ns_) *expected_ns_ += duration_ns;
        return 0;
    }
    const auto timestamp = static_cast<double>(*timestamp_ns);
    if (!expected_ns_) expected_ns_ = timestamp;

    std::int64_t lost = 0;
    const double late_ns = timestamp - *expected_ns_;
    if (late_ns > static_cast<double>(kLongestLossNs)) {
        expected_ns_ = timestamp;
    } else if (late_ns > static_cast<double>(flagged ? kFlaggedToleranceNs : kToleranceNs)) {
        lost = std::llround(late_ns * rate_hz_ / kNsPerSecond);
        *expected_ns_ += static_cast<double>(lost) * kNsPerSecond / rate_hz_;
    } else if (late_ns < -kNsPerSecond) {
        expected_ns_ = timestamp;  // the timestamps began anew
    } else {
        // Follow a clock that drifts, but slowly: delayed timestamps are followed by early ones, and several losses
        // below the tolerance must add up.
        *expected_ns_ += late_ns * duration_ns / (kDriftTimeConstantSeconds * kNsPerSecond + duration_ns);
    }
    *expected_ns_ += duration_ns;
    return lost;
}

}  // namespace chorus
