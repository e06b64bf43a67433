#include "daemon/activity_prior.h"

#include <algorithm>
#include <cmath>

namespace chorus {

ActivityPrior::ActivityPrior(const ActivityTable& table, double bound, std::optional<double> longitude_deg)
    : longitude_deg_(table.solar ? longitude_deg : std::nullopt),
      classes_(table.shifts.size() / ActivityTable::kCells),
      shifts_(table.shifts.size()) {
    const auto most = static_cast<float>(bound);
    for (std::size_t label = 0; label < classes_; ++label) {
        for (std::size_t cell = 0; cell < ActivityTable::kCells; ++cell) {
            shifts_[cell * classes_ + label] =
                std::clamp(table.shifts[label * ActivityTable::kCells + cell], -most, most);
        }
    }
}

std::span<const float> ActivityPrior::at(UtcTime time) const {
    return std::span(shifts_).subspan(activity_cell(time, longitude_deg_) * classes_, classes_);
}

float shifted_score(float score, float log_odds) {
    const double p = static_cast<double>(score);
    const double up = p * std::exp(static_cast<double>(log_odds));
    return static_cast<float>(up / (up + (1.0 - p)));
}

}  // namespace chorus
