#include "streaming/windower.h"

#include <stdexcept>

namespace chorus {

Windower::Windower(std::int64_t window, std::int64_t hop) : window_(window), hop_(0) {
    set_hop(hop);
}

void Windower::set_hop(std::int64_t hop) {
    if (hop <= 0 || hop > window_)
        throw std::invalid_argument("a hop must be at least one sample and at most a window");
    hop_ = hop;
}

std::optional<SampleSpan> Windower::next(std::int64_t available) {
    if (next_start_ + window_ > available) return std::nullopt;
    const SampleSpan span{next_start_, next_start_ + window_};
    next_start_ += hop_;
    covered_ = span.end;
    return span;
}

std::optional<SampleSpan> Windower::last(std::int64_t total) {
    if (total < window_ || covered_ >= total) return std::nullopt;
    covered_ = total;
    return SampleSpan{total - window_, total};
}

}  // namespace chorus
