#include "trainer/feature_store.h"

#include <gmock/gmock.h>

namespace chorus {
namespace {

using testing::FloatNear;
using testing::Pointwise;

TEST(FeatureStore, GivesBackWhatWasAddedToHalfPrecision) {
    const std::vector<float> features = {0.0F, 1.0F, 0.3333F, 0.5F, 0.9999F, 1e-3F};
    const auto halves = std::make_shared<std::vector<std::uint16_t>>(to_halves(features));
    FeatureStore store(1, 3);
    store.add({halves, halves->data()});
    store.add({halves, halves->data() + 3});
    ASSERT_EQ(store.size(), 2U);
    std::vector<float> got(6);
    store.get(0, std::span(got).first(3));
    store.get(1, std::span(got).last(3));
    EXPECT_THAT(got, Pointwise(FloatNear(5e-4F), features));
}

}  // namespace
}  // namespace chorus
