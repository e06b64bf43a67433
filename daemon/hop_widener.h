#pragma once

#include <optional>

#include "streaming/audio_block.h"

namespace chorus {

/// Decides how much wider than configured the hop is while the analysis falls behind: fewer windows for the same sound,
/// each sample still heard. Pure; one thread.
class HopWidener {
  public:
    static constexpr double kFull = 0.5;   // so full: wider, if the last change has had time to show
    static constexpr double kAtOnce = 1.0;  // windows of a channel that wait, as those of all channels come at once
    static constexpr auto kSettle = std::chrono::seconds(2);
    static constexpr auto kCalm = std::chrono::seconds(30);  // so long no more than kAtOnce: narrower

    /// most: the largest factor that leaves no sound out, window / hop; at least 1. room: windows of a channel that may
    /// wait.
    HopWidener(double most, double room) : most_(most < 1 ? 1 : most), room_(room) {}

    /// waiting: windows of a channel that wait, of the source where most do. Returns the factor from now on: 1, 2, 4,
    /// ... most.
    double update(MonotonicTime now, double waiting);

  private:
    double most_;
    double room_;
    double factor_ = 1;
    std::optional<MonotonicTime> changed_;
    std::optional<MonotonicTime> calm_since_;
};

}  // namespace chorus
