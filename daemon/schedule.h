#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/position.h"
#include "streaming/audio_block.h"

namespace chorus {

struct SunTimes {
    UtcTime sunrise;
    UtcTime sunset;
};

/// Of the solar day that has its noon nearest to 12:00 UTC minus the longitude, by NOAA's solar calculator's equations
/// (to a minute or two): the centre of the sun at 90.833 degrees from the zenith. Where the sun doesn't set, they are
/// the midnights around noon; where it doesn't rise, both are noon.
SunTimes sun_times(std::chrono::sys_days day, const Position& position);

/// The hours in which a source is open. Each entry is "FROM..TO" with points of time HH:MM (UTC), sunrise or sunset,
/// these with an offset where wanted: "04:30..09:00", "sunset-01:00..sunrise+00:30". Const after its making.
class Schedule {
  public:
    /// One entry; throws std::invalid_argument with what is wrong. Sun times need a position.
    void add(std::string_view entry, const std::optional<Position>& position);

    bool open_at(UtcTime time) const;
    bool empty() const { return entries_.empty(); }

    bool operator==(const Schedule&) const = default;

  private:
    enum class Base { kMidnight, kSunrise, kSunset };
    struct Point {
        Base base = Base::kMidnight;
        std::chrono::minutes offset{0};
        bool operator==(const Point&) const = default;
    };
    struct Entry {
        Point from;
        Point to;
        bool operator==(const Entry&) const = default;
    };
    static Point parse_point(std::string_view text);
    static std::chrono::minutes usual(const Point& point);
    UtcTime on(std::chrono::sys_days day, const Point& point) const;
    UtcTime end_of(const Entry& entry, std::chrono::sys_days day, UtcTime begin) const;

    std::vector<Entry> entries_;
    Position position_;
};

}  // namespace chorus
