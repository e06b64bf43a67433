#pragma once

#include <cstdint>
#include <optional>

namespace chorus {

struct SampleSpan {
    std::int64_t start = 0;
    std::int64_t end = 0;  // one past the last
    bool operator==(const SampleSpan&) const = default;
};

/// Decides which windows an unbroken stretch of sound is cut into: one every hop, and at the end one more that ends
/// with the last sample, if the others left any uncovered. Pure arithmetic; positions count from the stretch's start.
class Windower {
  public:
    /// 0 < hop <= window, else std::invalid_argument.
    Windower(std::int64_t window, std::int64_t hop);

    /// The next window that is whole once `available` samples exist; call until it has none.
    std::optional<SampleSpan> next(std::int64_t available);

    /// After next() has none and the stretch has ended at `total`. None when all is covered or the stretch is shorter
    /// than a window.
    std::optional<SampleSpan> last(std::int64_t total);

    /// From the window after the next one on; the same rule for the hop.
    void set_hop(std::int64_t hop);

    /// Samples from the start on that windows handed out so far cover.
    std::int64_t covered() const { return covered_; }

  private:
    std::int64_t window_;
    std::int64_t hop_;
    std::int64_t next_start_ = 0;
    std::int64_t covered_ = 0;
};

}  // namespace chorus
