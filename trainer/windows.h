#pragma once
// Windows of a model's length out of recordings whose calls were labelled where they are.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace chorus {

/// A class that calls from start to end, or the word that none does.
struct Call {
    double start_seconds = 0.0;
    double end_seconds = 0.0;
    std::optional<std::size_t> class_index;
};

struct WindowOptions {
    double window_seconds = 3.0;
    double hop_seconds = 1.0;      // between windows
    double overlap_seconds = 0.5;  // of a call, or all of a shorter one, must lie in a window for the window to hold it
};

struct LabelledWindow {
    double start_seconds = 0.0;
    std::vector<std::uint8_t> targets;  // [classes], 0 or 1
    bool is_labelled = false;           // something was said of it, be it that nothing calls
};

/// What rounding of a file's length may cost: a window that ends no later after the recording's end is whole.
inline constexpr double kLengthToleranceSeconds = 0.02;

inline constexpr double kMaxWindows = 1e7;  // of one recording

/// All whole windows, hop by hop from 0 on. Throws std::invalid_argument where window or hop isn't above 0, or where
/// they would be more than kMaxWindows.
std::vector<LabelledWindow> cut_windows(double recording_seconds, std::span<const Call> calls, std::size_t classes,
                                        const WindowOptions& options);

}  // namespace chorus
