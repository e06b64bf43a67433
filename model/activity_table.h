#pragma once
// When animals call: how much likelier than on its average each class is, by month and hour of the day.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

struct ActivityTable {
    static constexpr std::size_t kMonths = 12;
    static constexpr std::size_t kHours = 24;
    static constexpr std::size_t kCells = kMonths * kHours;
    static constexpr double kLargestShift = 5.0;

    bool solar = false;         // hours are mean solar time at the recorder, else UTC
    int recordings = 0;         // dated ones it was learned from
    std::vector<float> shifts;  // [label, month, hour], log-odds; 0 where nothing is known
    bool operator==(const ActivityTable&) const = default;
};

/// The cell a time belongs to, 0 to kCells - 1, month by month: by UTC or, with a longitude (degrees east), by mean
/// solar time there, which is UTC + longitude / 15 hours.
std::size_t activity_cell(std::chrono::sys_time<std::chrono::microseconds> time, std::optional<double> longitude_deg);

/// As a bundle's metadata have it: {"hours": "solar" | "utc", "recordings": N, "shifts": [[288 numbers], ...]}, a list
/// a label, empty where all are 0; numbers have two decimals.
std::string to_metadata(const ActivityTable& table);

/// Throws std::runtime_error with one line for anything else, or for more or fewer labels.
ActivityTable parse_activity_table(std::string_view text, std::size_t labels);

}  // namespace chorus
