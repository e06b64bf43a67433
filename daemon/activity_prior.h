#pragma once
// What the hour and the season say about a score. Pure.

#include <optional>
#include <span>
#include <vector>

#include "model/activity_table.h"
#include "streaming/audio_block.h"

namespace chorus {

/// Const after its making.
class ActivityPrior {
  public:
    /// bound: the most a score is shifted by, in log-odds. longitude_deg: the station's, used by tables of solar hours.
    ActivityPrior(const ActivityTable& table, double bound, std::optional<double> longitude_deg);

    /// Log-odds to add at this time: [class], each within the bound.
    std::span<const float> at(UtcTime time) const;

  private:
    std::optional<double> longitude_deg_;  // empty: by UTC
    std::size_t classes_;
    std::vector<float> shifts_;  // [cell, class]
};

/// The probability whose odds are exp(log_odds) times those of `score`; 0 and 1 stay.
float shifted_score(float score, float log_odds);

}  // namespace chorus
