#include "daemon/time_format.h"

#include <fmt/format.h>

namespace chorus {
namespace {

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
    if (at + count > text.size()) return std::nullopt;
    int value = 0;
    for (std::size_t i = at; i < at + count; ++i) {
        if (text[i] < '0' || text[i] > '9') return std::nullopt;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

}  // namespace

std::string to_iso8601(UtcTime time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", int(date.year()), unsigned(date.month()),
                       unsigned(date.day()), clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                       clock.subseconds().count());
}

std::optional<UtcTime> from_iso8601(std::string_view text) {
    if (text.size() < 20 || text.size() > 27 || text.back() != 'Z') return std::nullopt;
    if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') return std::nullopt;
    const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
    const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
    if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
    const auto date =
        std::chrono::year(*year) / std::chrono::month(unsigned(*month)) / std::chrono::day(unsigned(*day));
    if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
    int microseconds = 0;
    if (text.size() > 20) {
        const std::size_t count = text.size() - 21;
        const auto fraction = digits(text, 20, count);
        if (text[19] != '.' || count == 0 || !fraction) return std::nullopt;
        microseconds = *fraction;
        for (std::size_t i = count; i < 6; ++i) microseconds *= 10;
    }
    return UtcTime(std::chrono::sys_days(date)) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
           std::chrono::seconds(*second) + std::chrono::microseconds(microseconds);
}

UtcTime utc_now() {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

}  // namespace chorus
