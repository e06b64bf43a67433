#include "model/activity_table.h"

#include <gmock/gmock.h>

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::size_t cell(int month, int hour) {
    return static_cast<std::size_t>(month - 1) * 24 + static_cast<std::size_t>(hour);
}

ActivityTable example() {
    ActivityTable table{.solar = true, .recordings = 120, .shifts = std::vector<float>(3 * ActivityTable::kCells)};
    table.shifts[cell(10, 20)] = 1.25F;
    table.shifts[2 * ActivityTable::kCells + cell(12, 23)] = -5.0F;
    return table;
}

TEST(ActivityCell, IsTheMonthAndHourInUtcOrSolarTime) {
    const std::chrono::sys_time<std::chrono::microseconds> time =
        std::chrono::sys_days(std::chrono::year(2026) / 11 / 1) + 1h + 59min + 59s;
    EXPECT_EQ(activity_cell(time, std::nullopt), cell(11, 1));
    EXPECT_EQ(activity_cell(time, -47.07), cell(10, 22)) << "3 h 8 min before UTC";
    EXPECT_EQ(activity_cell(time, 15.0), cell(11, 2));
    EXPECT_EQ(activity_cell(time + 1us, 0.0), cell(11, 1));
    EXPECT_EQ(activity_cell(time + 1s, 0.0), cell(11, 2));
    EXPECT_EQ(activity_cell(std::chrono::sys_days(std::chrono::year(1969) / 12 / 31) + 23h, std::nullopt),
              cell(12, 23));
}

TEST(ActivityTable, ComesBackAsWritten) {
    const auto text = to_metadata(example());
    EXPECT_THAT(text, HasSubstr("\"hours\":\"solar\""));
    EXPECT_THAT(text, HasSubstr("],[],["));
    EXPECT_EQ(parse_activity_table(text, 3), example());
}

TEST(ActivityTable, RefusesWhatMakesNoSense) {
    const auto refusal = [](const std::string& text, std::size_t labels = 1) -> std::string {
        try {
            parse_activity_table(text, labels);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_EQ(refusal(R"({"hours":"utc","recordings":1,"shifts":[[]]})"), "accepted");
    EXPECT_EQ(refusal("[]"), "metadata activity: is not an object");
    EXPECT_THAT(refusal(R"({"hours":"local","recordings":1,"shifts":[[]]})"), HasSubstr("neither solar nor utc"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":-1,"shifts":[[]]})"), HasSubstr("recordings is not a count"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":1e99,"shifts":[[]]})"), HasSubstr("recordings is not a count"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":1,"shifts":[[]]})", 2), HasSubstr("each of 2 labels"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":1,"shifts":[[0.5]]})"), HasSubstr("288 shifts or none"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":1,"shifts":[7]})"), HasSubstr("288 shifts or none"));
    EXPECT_THAT(refusal(R"({"hours":"utc","recordings":1,"shifts":[[[[[]]]]]})"), HasSubstr("metadata activity"));
    auto table = example();
    table.shifts[0] = 5.5F;
    EXPECT_THAT(refusal(to_metadata(table), 3), HasSubstr("not a number within 5"));
}

}  // namespace
}  // namespace chorus
