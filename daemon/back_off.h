#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace chorus {

/// Pauses between the tries to open a source again: 0.5 s at first, doubling to 30 s, each jittered by half of itself
/// either way, so that sources that fell together don't come back together. One thread.
class BackOff {
  public:
    static constexpr std::chrono::milliseconds kFirst{500};
    static constexpr std::chrono::milliseconds kLongest{30'000};
    static constexpr std::chrono::seconds kStable{60};

    explicit BackOff(unsigned seed) : random_(seed) {}

    /// The next pause; begins anew where sound had come for kStable before the failure.
    std::chrono::milliseconds next(std::chrono::steady_clock::duration sounded) {
        if (sounded >= kStable) step_ = kFirst;
        std::uniform_int_distribution<std::chrono::milliseconds::rep> jitter(step_.count() / 2, step_.count() * 3 / 2);
        const std::chrono::milliseconds pause(jitter(random_));
        step_ = std::min(step_ * 2, kLongest);
        return pause;
    }

  private:
    std::minstd_rand random_;
    std::chrono::milliseconds step_ = kFirst;
};

}  // namespace chorus
