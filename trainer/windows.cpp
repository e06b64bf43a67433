#include "trainer/windows.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace chorus {

std::vector<LabelledWindow> cut_windows(double recording_seconds, std::span<const Call> calls, std::size_t classes,
                                        const WindowOptions& options) {
    if (!(options.window_seconds > 0.0) || !(options.hop_seconds > 0.0))
        throw std::invalid_argument("window and hop must be above 0 s");
    if (recording_seconds / options.hop_seconds > kMaxWindows) throw std::invalid_argument("too many windows");
    std::vector<LabelledWindow> windows;
    const double last = recording_seconds - options.window_seconds + kLengthToleranceSeconds;
    for (std::size_t i = 0; static_cast<double>(i) * options.hop_seconds <= last; ++i)
        windows.push_back({.start_seconds = static_cast<double>(i) * options.hop_seconds,
                           .targets = std::vector<std::uint8_t>(classes),
                           .is_labelled = false});

    // Sums of decimal fractions of a second are off by less than this.
    constexpr double kRounding = 1e-6;
    for (const auto& call : calls) {
        const double needed = std::min(options.overlap_seconds, call.end_seconds - call.start_seconds) - kRounding;
        // Windows from the first that reaches the call's start on, as long as they begin before its end.
        const double reach = (call.start_seconds - options.window_seconds) / options.hop_seconds;
        for (auto i = static_cast<std::size_t>(std::max(0.0, std::floor(reach))); i < windows.size(); ++i) {
            auto& window = windows[i];
            const double from = std::max(call.start_seconds, window.start_seconds);
            const double to = std::min(call.end_seconds, window.start_seconds + options.window_seconds);
            if (to - from > 0.0 && to - from >= needed) {
                window.is_labelled = true;
                if (call.class_index) window.targets[*call.class_index] = 1;
            }
            if (window.start_seconds >= call.end_seconds) break;
        }
    }
    return windows;
}

}  // namespace chorus
