#include "daemon/reachability.h"

#include <gmock/gmock.h>

#include <random>

#include "streaming/windower.h"

namespace chorus {
namespace {

FrontEndParameters front_end() {
    FrontEndParameters parameters;
    parameters.sample_rate_hz = 16'000;
    parameters.window_seconds = 3.0;
    return parameters;
}

TEST(Reachability, CountsTheWindowsThatAWindowerCuts) {
    std::mt19937 random(1);
    for (int round = 0; round < 2000; ++round) {
        const std::int64_t total = random() % 400'000;
        const double hop_seconds = 0.05 + 2.95 * static_cast<double>(random() % 1000) / 1000.0;
        Windower windower(48'000, std::llround(hop_seconds * 16'000));
        std::int64_t count = 0;
        while (windower.next(total)) ++count;
        if (windower.last(total)) ++count;
        EXPECT_EQ(windows_in(static_cast<double>(total) / 16'000, front_end(), hop_seconds), count)
            << total << " samples, hop " << hop_seconds;
    }
}

TEST(Reachability, NamesTheClassesThatAskForMore) {
    const std::vector<int> min_windows = {1, 5, 6};
    EXPECT_THAT(out_of_reach(min_windows, 5), testing::ElementsAre(2));
    EXPECT_THAT(out_of_reach(min_windows, 0), testing::ElementsAre(0, 1, 2));
    EXPECT_THAT(out_of_reach(min_windows, 6), testing::IsEmpty());
}

}  // namespace
}  // namespace chorus
