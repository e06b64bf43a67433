#include "daemon/activity_prior.h"

#include <gmock/gmock.h>

#include "daemon/time_format.h"

namespace chorus {
namespace {

using testing::ElementsAre;

// Two classes: one calls from 20 h to 21 h in October, the other never does.
ActivityTable table(bool solar) {
    ActivityTable table{.solar = solar, .shifts = std::vector<float>(2 * ActivityTable::kCells)};
    table.shifts[9 * 24 + 20] = 3.0F;
    table.shifts[ActivityTable::kCells + 9 * 24 + 20] = -0.5F;
    return table;
}

TEST(ActivityPrior, TellsEachClassesShiftWithinItsBound) {
    const ActivityPrior prior(table(false), 1.0, std::nullopt);
    EXPECT_THAT(prior.at(*from_iso8601("2026-10-26T20:30:00Z")), ElementsAre(1.0F, -0.5F));
    EXPECT_THAT(prior.at(*from_iso8601("2026-10-26T21:00:00Z")), ElementsAre(0.0F, 0.0F));
    EXPECT_THAT(prior.at(*from_iso8601("2026-11-26T20:30:00Z")), ElementsAre(0.0F, 0.0F));
}

TEST(ActivityPrior, GoesByTheStationsSolarTimeOnlyWhereTheTableDoes) {
    const auto at_station = from_iso8601("2026-10-26T23:30:00Z").value();  // 20:22 at 47 degrees west
    EXPECT_THAT(ActivityPrior(table(true), 5.0, -47.0).at(at_station), ElementsAre(3.0F, -0.5F));
    EXPECT_THAT(ActivityPrior(table(false), 5.0, -47.0).at(at_station), ElementsAre(0.0F, 0.0F));
}

TEST(ShiftedScore, AddsToTheLogOdds) {
    EXPECT_FLOAT_EQ(shifted_score(0.5F, std::log(3.0F)), 0.75F);
    EXPECT_FLOAT_EQ(shifted_score(0.75F, -std::log(3.0F)), 0.5F);
    for (const float score : {0.0F, 1e-30F, 0.1F, 0.7F, 0.999999F, 1.0F}) EXPECT_EQ(shifted_score(score, 0.0F), score);
    for (const float shift : {-5.0F, 5.0F}) {
        EXPECT_EQ(shifted_score(0.0F, shift), 0.0F);
        EXPECT_EQ(shifted_score(1.0F, shift), 1.0F);
    }
}

}  // namespace
}  // namespace chorus
