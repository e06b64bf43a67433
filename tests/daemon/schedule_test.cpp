#include "daemon/schedule.h"

#include <gmock/gmock.h>

#include <cmath>

#include "daemon/time_format.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

UtcTime utc(const std::string& text) {
    return *from_iso8601(text);
}

std::chrono::sys_days day(int year, unsigned month, unsigned number) {
    return std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(number);
}

Schedule schedule(std::initializer_list<const char*> entries, const std::optional<Position>& position = {}) {
    Schedule made;
    for (const char* entry : entries) made.add(entry, position);
    return made;
}

constexpr Position kGreenwich{51.0 + 28.0 / 60, 0.0};
constexpr Position kReykjavik{64.0 + 4.0 / 60, -(21.0 + 58.0 / 60)};
constexpr Position kQuito{-0.25, -(78.0 + 35.0 / 60)};
constexpr Position kMoscow{55.7522, 37.6156};
constexpr Position kTromso{69.65, 18.96};

TEST(SunTimes, AreThePublishedOnesToTwoMinutes) {
    struct Published {
        Position position;
        std::chrono::sys_days day;
        const char* sunrise;
        const char* sunset;
    };
    for (const auto& [position, date, sunrise, sunset] : {
             Published{kGreenwich, day(2013, 1, 1), "2013-01-01T08:05:00Z", "2013-01-01T16:02:00Z"},
             {kGreenwich, day(2013, 3, 21), "2013-03-21T06:00:00Z", "2013-03-21T18:15:00Z"},
             {kGreenwich, day(2013, 6, 21), "2013-06-21T03:43:00Z", "2013-06-21T20:21:00Z"},
             {kReykjavik, day(2013, 1, 1), "2013-01-01T11:18:00Z", "2013-01-01T15:45:00Z"},
             {kReykjavik, day(2013, 6, 21), "2013-06-21T02:57:00Z", "2013-06-22T00:02:00Z"},
             {kQuito, day(2013, 1, 1), "2013-01-01T11:14:00Z", "2013-01-01T23:22:00Z"},
             {kQuito, day(2013, 6, 21), "2013-06-21T11:13:00Z", "2013-06-21T23:19:00Z"},
             {kMoscow, day(2015, 4, 12), "2015-04-12T02:34:00Z", "2015-04-12T16:29:00Z"},
             {kMoscow, day(2015, 7, 13), "2015-07-13T01:04:00Z", "2015-07-13T18:09:00Z"},
         }) {
        const auto sun = sun_times(date, position);
        EXPECT_LE(std::chrono::abs(sun.sunrise - utc(sunrise)), 2min) << sunrise << ' ' << to_iso8601(sun.sunrise);
        EXPECT_LE(std::chrono::abs(sun.sunset - utc(sunset)), 2min) << sunset << ' ' << to_iso8601(sun.sunset);
    }
}

TEST(SunTimes, MeetWhereTheSunDoesNotRiseOrSet) {
    const auto winter = sun_times(day(2026, 12, 21), kTromso);
    EXPECT_EQ(winter.sunrise, winter.sunset);
    const auto summer = sun_times(day(2026, 6, 21), kTromso);
    EXPECT_LE(std::chrono::abs(summer.sunset - summer.sunrise - 24h), 1min);
}

TEST(Schedule, OpensInFixedHoursOfUtc) {
    const auto morning = schedule({"04:30..09:00"});
    EXPECT_FALSE(morning.open_at(utc("2026-11-23T04:29:59Z")));
    EXPECT_TRUE(morning.open_at(utc("2026-11-23T04:30:00Z")));
    EXPECT_TRUE(morning.open_at(utc("2026-11-23T08:59:59Z")));
    EXPECT_FALSE(morning.open_at(utc("2026-11-23T09:00:00Z")));
}

TEST(Schedule, GoesOverMidnightAndTakesSeveralEntries) {
    const auto hours = schedule({"22:00..02:00", "12:00..12:30"});
    for (const char* open : {"2026-12-31T22:00:00Z", "2027-01-01T01:59:59Z", "2027-01-01T12:10:00Z"})
        EXPECT_TRUE(hours.open_at(utc(open))) << open;
    for (const char* closed : {"2026-12-31T21:59:00Z", "2027-01-01T02:00:00Z", "2027-01-01T12:30:00Z"})
        EXPECT_FALSE(hours.open_at(utc(closed))) << closed;
}

TEST(Schedule, FollowsTheSun) {
    const auto night = schedule({"sunset-01:00..sunrise+00:30"}, kQuito);  // 23:22 to 11:14 UTC
    for (const char* open : {"2013-01-01T22:25:00Z", "2013-01-02T05:00:00Z", "2013-01-02T11:40:00Z"})
        EXPECT_TRUE(night.open_at(utc(open))) << open;
    for (const char* closed : {"2013-01-01T22:18:00Z", "2013-01-02T11:49:00Z", "2013-01-02T17:00:00Z"})
        EXPECT_FALSE(night.open_at(utc(closed))) << closed;
    const auto dusk = schedule({"sunset..sunset+01:30"}, kMoscow);  // 16:29
    EXPECT_TRUE(dusk.open_at(utc("2015-04-12T17:50:00Z")));
    EXPECT_FALSE(dusk.open_at(utc("2015-04-12T18:02:00Z")));
    EXPECT_FALSE(dusk.open_at(utc("2015-04-12T16:20:00Z")));
    const auto until_dawn = schedule({"03:00..sunrise"}, kGreenwich);
    EXPECT_TRUE(until_dawn.open_at(utc("2013-01-01T08:00:00Z")));
    EXPECT_FALSE(until_dawn.open_at(utc("2013-01-01T08:10:00Z")));
}

TEST(Schedule, IsOpenOrShutAllDayInPolarDayAndNight) {
    const auto day_time = schedule({"sunrise..sunset"}, kTromso);
    const auto night = schedule({"sunset..sunrise"}, kTromso);
    const auto minutes_open = [](const Schedule& hours, const std::string& date) {
        int minutes = 0;
        for (auto t = utc(date); t < utc(date) + 24h; t += 1min) minutes += hours.open_at(t) ? 1 : 0;
        return minutes;
    };
    EXPECT_GE(minutes_open(day_time, "2026-06-21T00:00:00Z"), 1438);
    EXPECT_LE(minutes_open(night, "2026-06-21T00:00:00Z"), 2);
    EXPECT_LE(minutes_open(day_time, "2026-12-21T00:00:00Z"), 2);
    EXPECT_GE(minutes_open(night, "2026-12-21T00:00:00Z"), 1438);
}

TEST(Schedule, OpensAndShutsOnceADayEverywhereAllTheYear) {
    for (const Position position : {kGreenwich, kQuito, Position{-35, 179.9}, Position{50, -179.9}}) {
        const auto night = schedule({"sunset..sunrise"}, position);
        const auto day_time = schedule({"sunrise..sunset"}, position);
        for (auto t = utc("2026-01-01T00:00:00Z"); t < utc("2027-01-01T00:00:00Z"); t += 7h) {
            if (night.open_at(t) != night.open_at(t + 2min)) continue;  // at a change both may be shut or open
            ASSERT_NE(night.open_at(t), day_time.open_at(t)) << to_iso8601(t);
        }
    }
}

TEST(Schedule, SaysWhatIsWrongWithAnEntry) {
    const auto fault = [](const char* entry, const std::optional<Position>& position = kQuito) -> std::string {
        try {
            schedule({entry}, position);
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "";
    };
    for (const char* entry : {"", "04:30", "04:30-09:00", "4:30..09:00", "24:00..09:00", "04:60..09:00", "dawn..dusk",
                              "sunrise+1..sunset", "sunrise*01:00..sunset", "sunrise+00:30", "04:30..09:00..10:00",
                              "05:00..05:00", "..", "sunrise..", "sunrise+..sunset", "1\xc3:00..02:00"}) {
        EXPECT_NE(fault(entry), "") << entry;
    }
    EXPECT_THAT(fault("sunset..sunrise", {}), HasSubstr("needs [station] latitude and longitude"));
}

}  // namespace
}  // namespace chorus
