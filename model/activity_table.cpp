#include "model/activity_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>

#include "model/bounded_json.h"

namespace chorus {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 3;

std::runtime_error failure(const std::string& what) {
    return std::runtime_error("metadata activity: " + what);
}

}  // namespace

std::size_t activity_cell(std::chrono::sys_time<std::chrono::microseconds> time, std::optional<double> longitude_deg) {
    const auto local = time + std::chrono::seconds(std::llround(longitude_deg.value_or(0.0) * 240.0));
    const auto day = std::chrono::floor<std::chrono::days>(local);
    const auto month = static_cast<unsigned>(std::chrono::year_month_day(day).month()) - 1;
    const auto hour = std::chrono::floor<std::chrono::hours>(local - day).count();
    return month * ActivityTable::kHours + static_cast<std::size_t>(hour);
}

std::string to_metadata(const ActivityTable& table) {
    json shifts = json::array();
    for (std::size_t first = 0; first < table.shifts.size(); first += ActivityTable::kCells) {
        const auto cells = std::span(table.shifts).subspan(first, ActivityTable::kCells);
        json numbers = json::array();
        const bool known = std::ranges::any_of(cells, [](float shift) { return shift != 0.0F; });
        for (const float shift : known ? cells : cells.first(0))
            numbers.push_back(std::round(static_cast<double>(shift) * 100) / 100);
        shifts.push_back(std::move(numbers));
    }
    return json{
        {"hours", table.solar ? "solar" : "utc"}, {"recordings", table.recordings}, {"shifts", std::move(shifts)}}
        .dump();
}

ActivityTable parse_activity_table(std::string_view text, std::size_t labels) {
    const json value = parse_bounded_json(text, kMaxDepth, "metadata activity");
    if (!value.is_object()) throw failure("is not an object");
    ActivityTable table;
    const auto hours = value.find("hours");
    if (hours == value.end() || (*hours != "solar" && *hours != "utc")) throw failure("hours is neither solar nor utc");
    table.solar = *hours == "solar";
    const auto recordings = value.find("recordings");
    if (recordings == value.end() || !recordings->is_number_integer() || *recordings < 0 || *recordings > 1'000'000'000)
        throw failure("recordings is not a count");
    table.recordings = recordings->get<int>();
    const auto shifts = value.find("shifts");
    if (shifts == value.end() || !shifts->is_array() || shifts->size() != labels)
        throw failure(fmt::format("shifts does not have a list for each of {} labels", labels));
    for (const auto& list : *shifts) {
        if (!list.is_array() || (!list.empty() && list.size() != ActivityTable::kCells))
            throw failure(fmt::format("a label does not have {} shifts or none", ActivityTable::kCells));
        for (const auto& number : list) {
            if (!number.is_number() || !(std::abs(number.get<double>()) <= ActivityTable::kLargestShift))
                throw failure(fmt::format("a shift is not a number within {}", ActivityTable::kLargestShift));
            table.shifts.push_back(number.get<float>());
        }
        if (list.empty()) table.shifts.resize(table.shifts.size() + ActivityTable::kCells);
    }
    return table;
}

}  // namespace chorus
