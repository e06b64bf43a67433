#include "daemon/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr double kZenithDeg = 90.833;  // refraction and the sun's radius

double radians(double degrees) {
    return degrees * std::numbers::pi / 180.0;
}

double degrees(double radians) {
    return radians * 180.0 / std::numbers::pi;
}

struct Sun {
    double declination;           // radians
    double equation_of_time_min;  // apparent minus mean solar time
};

// NOAA's equations (after Meeus, Astronomical Algorithms) for a Julian century since 2000-01-01 12:00.
Sun sun_at(double t) {
    const double mean_longitude = radians(std::fmod(280.46646 + t * (36000.76983 + t * 0.0003032), 360.0));
    const double mean_anomaly = radians(357.52911 + t * (35999.05029 - 0.0001537 * t));
    const double eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t);
    const double centre = std::sin(mean_anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t)) +
                          std::sin(2 * mean_anomaly) * (0.019993 - 0.000101 * t) +
                          std::sin(3 * mean_anomaly) * 0.000289;
    const double node = radians(125.04 - 1934.136 * t);
    const double longitude = mean_longitude + radians(centre - 0.00569 - 0.00478 * std::sin(node));
    const double obliquity =
        radians(23.0 + (26.0 + (21.448 - t * (46.815 + t * (0.00059 - t * 0.001813))) / 60.0) / 60.0 +
                0.00256 * std::cos(node));
    const double y = std::pow(std::tan(obliquity / 2), 2);
    const double equation = y * std::sin(2 * mean_longitude) - 2 * eccentricity * std::sin(mean_anomaly) +
                            4 * eccentricity * y * std::sin(mean_anomaly) * std::cos(2 * mean_longitude) -
                            0.5 * y * y * std::sin(4 * mean_longitude) -
                            1.25 * eccentricity * eccentricity * std::sin(2 * mean_anomaly);
    return {std::asin(std::sin(obliquity) * std::sin(longitude)), 4 * degrees(equation)};
}

std::optional<int> two_digits(std::string_view text) {
    if (text.size() != 2 || text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    return (text[0] - '0') * 10 + (text[1] - '0');
}

std::optional<std::chrono::minutes> parse_hours_minutes(std::string_view text) {
    if (text.size() != 5 || text[2] != ':') return std::nullopt;
    const auto hours = two_digits(text.substr(0, 2));
    const auto minutes = two_digits(text.substr(3));
    if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    return std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
}

}  // namespace

SunTimes sun_times(std::chrono::sys_days day, const Position& position) {
    const double noon_guess_min = 720.0 - 4.0 * position.longitude_deg;
    const auto days_since_2000 =
        static_cast<double>((day - std::chrono::sys_days(std::chrono::year(2000) / 1 / 1)).count()) - 0.5;
    const double latitude = radians(position.latitude_deg);
    // sign: -1 sunrise, 0 noon, 1 sunset. The sun is taken where it is at that moment, found in two rounds.
    const auto event = [&](double sign) {
        double minutes = noon_guess_min;
        for (int round = 0; round < 3; ++round) {
            const Sun sun = sun_at((days_since_2000 + minutes / 1440.0) / 36525.0);
            const double cosine = (std::cos(radians(kZenithDeg)) - std::sin(latitude) * std::sin(sun.declination)) /
                                  (std::cos(latitude) * std::cos(sun.declination));
            const double hour_angle = degrees(std::acos(std::clamp(cosine, -1.0, 1.0)));
            minutes = noon_guess_min - sun.equation_of_time_min + sign * 4.0 * hour_angle;
        }
        return UtcTime(day) +
               std::chrono::round<std::chrono::seconds>(std::chrono::duration<double, std::ratio<60>>(minutes));
    };
    return {.sunrise = event(-1), .sunset = event(1)};
}

Schedule::Point Schedule::parse_point(std::string_view text) {
    const auto wrong = [&] {
        return std::invalid_argument(
            fmt::format("\"{}\" must be HH:MM, sunrise or sunset, these with +HH:MM or -HH:MM", text));
    };
    for (const auto& [name, base] :
         {std::pair{std::string_view("sunrise"), Base::kSunrise}, {"sunset", Base::kSunset}}) {
        if (!text.starts_with(name)) continue;
        const auto rest = text.substr(name.size());
        if (rest.empty()) return {base, 0min};
        const auto offset = parse_hours_minutes(rest.substr(1));
        if (!offset || (rest[0] != '+' && rest[0] != '-')) throw wrong();
        return {base, rest[0] == '-' ? -*offset : *offset};
    }
    const auto time = parse_hours_minutes(text);
    if (!time) throw wrong();
    return {Base::kMidnight, *time};
}

void Schedule::add(std::string_view text, const std::optional<Position>& position) {
    const auto dots = text.find("..");
    if (dots == std::string_view::npos)
        throw std::invalid_argument(
            fmt::format("\"{}\" must be FROM..TO, as in \"sunset-01:00..sunrise+00:30\"", text));
    const Entry entry{parse_point(text.substr(0, dots)), parse_point(text.substr(dots + 2))};
    if (entry.from == entry.to) throw std::invalid_argument(fmt::format("\"{}\" begins where it ends", text));
    const bool sun = entry.from.base != Base::kMidnight || entry.to.base != Base::kMidnight;
    if (sun && !position)
        throw std::invalid_argument(fmt::format("\"{}\" needs [station] latitude and longitude", text));
    if (position) position_ = *position;
    entries_.push_back(entry);
}

// Where a point lies on a usual day; only the order of sun times is told by it.
std::chrono::minutes Schedule::usual(const Point& point) {
    return point.offset + (point.base == Base::kSunrise ? 6h : point.base == Base::kSunset ? 18h : 0h);
}

UtcTime Schedule::on(std::chrono::sys_days day, const Point& point) const {
    if (point.base == Base::kMidnight) return UtcTime(day) + point.offset;
    const auto sun = sun_times(day, position_);
    return (point.base == Base::kSunrise ? sun.sunrise : sun.sunset) + point.offset;
}

// Between sun times the day is told by their order, as in polar day and night they fall together; else the end is the
// first after the begin.
UtcTime Schedule::end_of(const Entry& entry, std::chrono::sys_days day, UtcTime begin) const {
    if (entry.from.base != Base::kMidnight && entry.to.base != Base::kMidnight) {
        const bool same_day = usual(entry.to) > usual(entry.from);
        return on(day + std::chrono::days(same_day ? 0 : 1), entry.to);
    }
    for (int later = -2; later < 3; ++later) {
        const auto end = on(day + std::chrono::days(later), entry.to);
        if (end > begin) return end;
    }
    return begin;
}

bool Schedule::open_at(UtcTime time) const {
    const auto today = std::chrono::floor<std::chrono::days>(time);
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
        for (int day = -2; day <= 2; ++day) {
            const auto begin = on(today + std::chrono::days(day), entry.from);
            if (time >= begin && time < end_of(entry, today + std::chrono::days(day), begin)) return true;
        }
        return false;
    });
}

}  // namespace chorus
