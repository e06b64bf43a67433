#include "trainer/prototypes.h"

#include <gmock/gmock.h>

#include "trainer/random.h"

namespace chorus {
namespace {

constexpr std::size_t kSize = 40;

double logit(const HeadRow& row, std::span<const float> embedding) {
    double sum = row.bias;
    for (std::size_t i = 0; i < kSize; ++i) sum += static_cast<double>(row.weight[i]) * embedding[i];
    return sum;
}

/// Clips that hold the class differ in the first five dimensions by twice what noise does; dimension 39 is mere noise,
/// a hundred times as strong.
std::vector<float> draw(int clips, bool present, Random& random) {
    std::vector<float> embeddings;
    for (int clip = 0; clip < clips; ++clip) {
        for (std::size_t i = 0; i < kSize; ++i) {
            double value = random.uniform() - 0.5;
            if (i == kSize - 1) value *= 100.0;
            if (present && i < 5) value += 0.6;
            embeddings.push_back(static_cast<float>(value));
        }
    }
    return embeddings;
}

TEST(PrototypeRow, PutsTheTwoPrototypesAtTheSameDistanceFromOneHalf) {
    Random random(2);
    const auto with = draw(1, true, random);
    const auto without = draw(1, false, random);
    auto both = with;
    both.insert(both.end(), without.begin(), without.end());
    const auto row = prototype_row(both, kSize, std::vector<std::uint8_t>{1, 0});
    ASSERT_TRUE(row.has_value());
    EXPECT_NEAR(logit(*row, with), 3.0, 1e-3);
    EXPECT_NEAR(logit(*row, without), -3.0, 1e-3);
}

TEST(PrototypeRow, TellsNewClipsApartAfterThree) {
    Random random(3);
    auto embeddings = draw(3, true, random);
    const auto others = draw(30, false, random);
    embeddings.insert(embeddings.end(), others.begin(), others.end());
    std::vector<std::uint8_t> present(33, 0);
    std::fill_n(present.begin(), 3, std::uint8_t{1});
    const auto row = prototype_row(embeddings, kSize, present).value();
    int right = 0;
    for (int i = 0; i < 200; ++i) right += (logit(row, draw(1, i % 2 == 0, random)) > 0.0) == (i % 2 == 0);
    EXPECT_GT(right, 170);
}

TEST(PrototypeRow, LooksPastWhatVariesTogether) {
    // Another animal, loud or not, moves ten dimensions at once by far more than the class moves five of them.
    Random random(4);
    const auto draw_beside = [&](bool present) {
        auto embedding = draw(1, present, random);
        const auto other = static_cast<float>(6.0 * (random.uniform() - 0.5));
        for (std::size_t i = 0; i < 10; ++i) embedding[i] += other;
        return embedding;
    };
    std::vector<float> embeddings;
    std::vector<std::uint8_t> present;
    for (int i = 0; i < 330; ++i) {
        present.push_back(i < 30 ? 1 : 0);
        const auto one = draw_beside(i < 30);
        embeddings.insert(embeddings.end(), one.begin(), one.end());
    }
    const auto row = prototype_row(embeddings, kSize, present).value();
    int right = 0;
    for (int i = 0; i < 200; ++i) right += (logit(row, draw_beside(i % 2 == 0)) > 0.0) == (i % 2 == 0);
    EXPECT_GT(right, 170);
}

TEST(PrototypeRow, StaysWithinHalfPrecision) {
    std::vector<float> embeddings(2 * kSize, 5.0F);
    embeddings[0] += 1e-5F;
    const auto row = prototype_row(embeddings, kSize, std::vector<std::uint8_t>{1, 0}).value();
    EXPECT_NEAR(row.bias, -100.0F, 1e-2F);
    EXPECT_LE(row.weight[0], 100.0F);
}

TEST(PrototypeRow, NeedsClipsWithAndWithout) {
    const std::vector<float> embeddings(3 * kSize, 1.0F);
    EXPECT_FALSE(prototype_row(embeddings, kSize, std::vector<std::uint8_t>{1, 1, 1}).has_value());
    EXPECT_FALSE(prototype_row(embeddings, kSize, std::vector<std::uint8_t>{0, 0, 0}).has_value());
    EXPECT_FALSE(prototype_row({}, kSize, {}).has_value());
    const auto alike = prototype_row(embeddings, kSize, std::vector<std::uint8_t>{1, 0, 0}).value();
    EXPECT_THAT(alike.weight, testing::Each(0.0F));
    EXPECT_LT(alike.bias, 0.0F);
}

}  // namespace
}  // namespace chorus
