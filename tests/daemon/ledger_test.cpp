#include "daemon/ledger.h"

#include <gtest/gtest.h>

#include <thread>

namespace chorus {
namespace {

TEST(Ledger, BalancesWhateverHappens) {
    Ledger ledger;
    ledger.ensure_channels(2);
    ledger.heard(1, 1000, -20.0, 3);
    ledger.analysed(1, 400);
    ledger.dropped(1, 100, DropReason::kOverload);
    const auto counts = ledger.report()[1].samples;
    EXPECT_EQ(counts.pending, 500);
    EXPECT_TRUE(counts.balanced());
    EXPECT_EQ(ledger.report()[0].samples.in, 0);
    EXPECT_EQ(ledger.report()[1].level.clipped_samples, 3);
    EXPECT_EQ(ledger.report()[1].level.windows, 1);
}

TEST(Ledger, IsUnbalancedWhenMoreIsAnalysedThanCameIn) {
    Ledger ledger;
    ledger.ensure_channels(1);
    ledger.heard(0, 10, 0, 0);
    ledger.analysed(0, 11);
    EXPECT_FALSE(ledger.report()[0].samples.balanced());
}

TEST(Ledger, ReportsOneConsistentMomentWhileOthersWrite) {
    Ledger ledger;
    ledger.ensure_channels(1);
    std::jthread writer([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            ledger.heard(0, 480, -30.0, 0);
            ledger.analysed(0, 300);
            ledger.dropped(0, 180, DropReason::kShort);
        }
    });
    for (int i = 0; i < 2000; ++i) EXPECT_TRUE(ledger.report()[0].samples.balanced());
}

}  // namespace
}  // namespace chorus
