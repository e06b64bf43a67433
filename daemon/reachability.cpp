#include "daemon/reachability.h"

#include <algorithm>
#include <cmath>

namespace chorus {
std::int64_t windows_in(double seconds, const FrontEndParameters& front_end, double hop_seconds) {
    const auto rest = static_cast<std::int64_t>(std::llround(seconds * front_end.sample_rate_hz)) -
                      static_cast<std::int64_t>(front_end.window_samples());
    const auto hop = std::max<std::int64_t>(std::llround(hop_seconds * front_end.sample_rate_hz), 1);
    return rest < 0 ? 0 : 1 + (rest + hop - 1) / hop;
}

std::vector<std::size_t> out_of_reach(std::span<const int> min_windows, std::int64_t windows) {
    std::vector<std::size_t> classes;
    for (std::size_t label = 0; label < min_windows.size(); ++label) {
        if (min_windows[label] > windows) classes.push_back(label);
    }
    return classes;
}

}  // namespace chorus
