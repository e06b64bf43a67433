#pragma once

namespace chorus {

struct Position {
    double latitude_deg = 0;   // north
    double longitude_deg = 0;  // east
    bool operator==(const Position&) const = default;
};

}  // namespace chorus
