#include "daemon/hop_widener.h"

#include <algorithm>
#include <cmath>

namespace chorus {

double HopWidener::update(MonotonicTime now, double waiting) {
    if (waiting > kAtOnce) {
        calm_since_.reset();
    } else if (!calm_since_) {
        calm_since_ = now;
    }
    const double before = factor_;
    const bool settled = !changed_ || now - *changed_ >= kSettle;
    if (waiting > kAtOnce && waiting >= room_ * kFull && settled) {
        factor_ = std::min(factor_ * 2, most_);
    } else if (factor_ > 1 && calm_since_ && now - *calm_since_ >= kCalm) {
        // From `most`, which need not be a power of two, back to the power below it.
        factor_ = std::max(1.0, std::exp2(std::ceil(std::log2(factor_)) - 1));
        calm_since_ = now;
    }
    if (factor_ != before) changed_ = now;
    return factor_;
}

}  // namespace chorus
