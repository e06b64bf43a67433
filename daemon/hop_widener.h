#pragma once

#include <optional>

#include "streaming/audio_block.h"

namespace chorus {

/// Decides how much wider than configured the hop is while the analysis falls behind: fewer windows for the same sound,
/// each sample still heard. Pure; one thread.
class HopWidener {
  public:
    static constexpr double kFull = 0.5;    // a queue this full: wider, if the last change has had time to show
    static constexpr double kEmpty = 0.05;  // a queue below this for kCalm: narrower
    static constexpr auto kSettle = std::chrono::seconds(2);
    static constexpr auto kCalm = std::chrono::seconds(30);

    /// most: the largest factor that leaves no sound out, window / hop; at least 1.
    explicit HopWidener(double most) : most_(most < 1 ? 1 : most) {}

    /// fill: how full the fullest queue of live sound is, 0 to 1. Returns the factor from now on: 1, 2, 4, ... most.
    double update(MonotonicTime now, double fill);

  private:
    double most_;
    double factor_ = 1;
    std::optional<MonotonicTime> changed_;
    std::optional<MonotonicTime> calm_since_;
};

}  // namespace chorus
