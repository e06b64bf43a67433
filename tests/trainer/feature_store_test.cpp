#include "trainer/feature_store.h"

#include <gmock/gmock.h>

namespace chorus {
namespace {

using testing::FloatNear;
using testing::Pointwise;

TEST(FeatureStore, GivesBackWhatWasAddedToHalfPrecision) {
    const std::vector<float> features = {0.0F, 1.0F, 0.3333F, 0.5F, 0.9999F, 1e-3F};
    const auto halves = std::make_shared<std::vector<std::uint16_t>>(to_halves(features));
    const FrontEndParameters parameters{.window_seconds = 0.1, .hop = 800, .mels = 1};
    ASSERT_EQ(parameters.frames(), 3);
    FeatureStore store(parameters);
    store.add({halves, halves->data()}, {.lowest_db = -100.0F, .highest_db = 3.0F});
    store.add({halves, halves->data() + 3}, {.lowest_db = -90.0F, .highest_db = 4.0F});
    EXPECT_EQ(store.scale(1), (WindowScale{.lowest_db = -90.0F, .highest_db = 4.0F}));
    ASSERT_EQ(store.size(), 2U);
    std::vector<float> got(6);
    store.get(0, std::span(got).first(3));
    store.get(1, std::span(got).last(3));
    EXPECT_THAT(got, Pointwise(FloatNear(5e-4F), features));
}

}  // namespace
}  // namespace chorus
