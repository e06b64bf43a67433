#include "trainer/windows.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

namespace chorus {
namespace {

using testing::ElementsAre;

/// Starts of the windows that hold the class 0.
std::vector<double> starts_with_class(const std::vector<LabelledWindow>& windows) {
    std::vector<double> starts;
    for (const auto& window : windows)
        if (window.targets[0] != 0) starts.push_back(window.start_seconds);
    return starts;
}

Call call(double start, double end) {
    return {.start_seconds = start, .end_seconds = end, .class_index = 0};
}

TEST(CutWindows, CutsTheWholeOnesHopByHop) {
    EXPECT_EQ(cut_windows(60.0, {}, 1, {}).size(), 58U);
    EXPECT_EQ(cut_windows(3.0, {}, 1, {}).size(), 1U);
    EXPECT_EQ(cut_windows(2.99, {}, 1, {}).size(), 1U);  // as long as rounding may make it
    EXPECT_EQ(cut_windows(2.9, {}, 1, {}).size(), 0U);
    EXPECT_EQ(cut_windows(7.0, {}, 1, {.hop_seconds = 0.5}).size(), 9U);
    EXPECT_THROW(cut_windows(60.0, {}, 1, {.hop_seconds = 0.0}), std::invalid_argument);
    EXPECT_THROW(cut_windows(1e9, {}, 1, {.hop_seconds = 0.05}), std::invalid_argument);
}

TEST(CutWindows, LabelsThoseThatHoldEnoughOfACall) {
    // [5.2, 9]: 2.7 to 5.7 would hold half a second, and so does 8.5.
    EXPECT_THAT(starts_with_class(cut_windows(20.0, std::vector{call(5.2, 9.0)}, 1, {})),
                ElementsAre(3, 4, 5, 6, 7, 8));
    EXPECT_THAT(starts_with_class(cut_windows(20.0, std::vector{call(5.6, 9.4)}, 1, {})), ElementsAre(4, 5, 6, 7, 8));
    EXPECT_THAT(starts_with_class(cut_windows(20.0, std::vector{call(5.6, 9.4)}, 1, {.overlap_seconds = 0.0})),
                ElementsAre(3, 4, 5, 6, 7, 8, 9));
    // Half a second to the dot counts, whatever binary fractions make of it.
    EXPECT_THAT(starts_with_class(cut_windows(20.0, std::vector{call(5.1, 8.2)}, 1, {.hop_seconds = 0.1})).front(),
                testing::DoubleNear(2.6, 1e-9));
}

TEST(CutWindows, WantAllOfACallThatIsShorterThanTheOverlap) {
    EXPECT_THAT(starts_with_class(cut_windows(20.0, std::vector{call(5.9, 6.1)}, 1, {})), ElementsAre(4, 5));
}

TEST(CutWindows, TellWhatWasLabelledFromWhatWasNot) {
    const std::vector<Call> calls = {call(0.0, 3.0),
                                     {.start_seconds = 10.0, .end_seconds = 13.0, .class_index = std::nullopt}};
    const auto windows = cut_windows(20.0, calls, 1, {.hop_seconds = 5.0});
    ASSERT_EQ(windows.size(), 4U);
    EXPECT_TRUE(windows[0].is_labelled);
    EXPECT_FALSE(windows[1].is_labelled);
    EXPECT_TRUE(windows[2].is_labelled);
    EXPECT_THAT(windows[2].targets, ElementsAre(0));
    EXPECT_FALSE(windows[3].is_labelled);
}

TEST(CutWindows, LabelEachWindowAsItsOverlapsWithAllCallsSay) {
    std::mt19937 engine(5);
    const auto uniform = [&](double most) { return most * static_cast<double>(engine()) / 4294967296.0; };
    for (int round = 0; round < 200; ++round) {
        const WindowOptions options{
            .window_seconds = 1.0 + uniform(4.0), .hop_seconds = 0.2 + uniform(5.0), .overlap_seconds = uniform(2.0)};
        std::vector<Call> calls;
        for (int i = 0; i < 10; ++i) {
            const double start = uniform(58.0);
            calls.push_back({.start_seconds = start,
                             .end_seconds = start + 0.05 + uniform(60.0 - start - 0.05),
                             .class_index = engine() % 3});
        }
        for (const auto& window : cut_windows(60.0, calls, 3, options)) {
            std::vector<std::uint8_t> expected(3);
            for (const auto& one : calls) {
                const double overlap = std::min(one.end_seconds, window.start_seconds + options.window_seconds) -
                                       std::max(one.start_seconds, window.start_seconds);
                if (overlap > 0.0 && overlap >= std::min(options.overlap_seconds, one.end_seconds - one.start_seconds))
                    expected[*one.class_index] = 1;
            }
            ASSERT_EQ(window.targets, expected) << window.start_seconds;
        }
    }
}

}  // namespace
}  // namespace chorus
