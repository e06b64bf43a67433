#include "streaming/sample_clock.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr int kRate = 48'000;
constexpr std::int64_t kBlock = 6'000;  // 125 ms
const UtcTime kBegin = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + 2h;

/// A source whose sample clock runs fast by `drift_ppm`, its capture times shifted by `error` seconds.
struct Capture {
    double drift_ppm = 0;
    std::function<double(double)> error = [](double) { return 0.0; };
    std::int64_t index = 0;
    SampleClock clock{};

    UtcTime truth(std::int64_t sample) const {
        const std::chrono::duration<double> real(static_cast<double>(sample) / (kRate * (1.0 + drift_ppm * 1e-6)));
        return kBegin + std::chrono::round<std::chrono::microseconds>(real);
    }
    // How many clock steps were told.
    int run(double seconds) {
        int steps = 0;
        for (const auto end = index + static_cast<std::int64_t>(seconds * kRate); index < end; index += kBlock) {
            const std::chrono::duration<double> off(error(static_cast<double>(index) / kRate));
            steps += clock.observe(index, truth(index) + std::chrono::round<std::chrono::microseconds>(off), kRate);
        }
        return steps;
    }
    double error_ms() const {
        return std::chrono::duration<double, std::milli>(*clock.utc(index) - truth(index)).count();
    }
};

TEST(SampleClock, TellsUtcAroundItsFirstObservation) {
    SampleClock clock{};
    EXPECT_FALSE(clock.utc(0));
    EXPECT_FALSE(clock.drift_ppm());
    clock.observe(48'000, kBegin, kRate);
    EXPECT_EQ(clock.utc(0), kBegin - 1s);
    EXPECT_EQ(clock.utc(72'000), kBegin + 500ms);
    // Ten years at 384 kHz: a plain product of samples and microseconds would overflow.
    EXPECT_EQ(SampleClock::offset(384'000LL * 86'400 * 3650, 384'000), std::chrono::days(3650));
    EXPECT_EQ(SampleClock::offset(-1, 3).count(), -333'334);
}

TEST(SampleClock, FindsTheRateErrorThroughJitter) {
    for (const double ppm : {50.0, -50.0, 0.0, 800.0}) {
        std::mt19937 random(7);
        std::uniform_real_distribution<double> jitter(-0.03, 0.03);
        Capture capture{.drift_ppm = ppm, .error = [&](double) { return jitter(random); }};
        EXPECT_EQ(capture.run(600), 0);
        ASSERT_TRUE(capture.clock.drift_ppm()) << ppm;
        EXPECT_NEAR(*capture.clock.drift_ppm(), ppm, 4.0);
        EXPECT_NEAR(capture.error_ms(), 0.0, 8.0);
    }
}

TEST(SampleClock, KnowsTheRateErrorOfSteadyCaptureTimesAfterAMinute) {
    Capture capture{.drift_ppm = 50.0};
    capture.run(30);
    EXPECT_FALSE(capture.clock.drift_ppm()) << "too early to tell";
    capture.run(35);
    ASSERT_TRUE(capture.clock.drift_ppm());
    EXPECT_NEAR(*capture.clock.drift_ppm(), 50.0, 0.1);
    EXPECT_NEAR(capture.error_ms(), 0.0, 0.1);
}

TEST(SampleClock, LetsSingleOutliersPass) {
    std::mt19937 random(3);
    Capture capture{.drift_ppm = 20.0, .error = [&](double) { return random() % 10 == 0 ? 30.0 : 0.0; }};
    EXPECT_EQ(capture.run(300), 0);
    EXPECT_NEAR(*capture.clock.drift_ppm(), 20.0, 0.5);
    EXPECT_NEAR(capture.error_ms(), 0.0, 0.5);
}

TEST(SampleClock, FollowsAClockThatIsSetAndKeepsTheRateError) {
    for (const double step : {7200.0, -7200.0, 0.3, -0.3}) {
        std::mt19937 random(5);
        std::uniform_real_distribution<double> jitter(-0.02, 0.02);
        Capture capture{.drift_ppm = 50.0,
                        .error = [&](double t) { return (t >= 400.0 ? step : 0.0) + jitter(random); }};
        EXPECT_EQ(capture.run(400), 0);
        EXPECT_EQ(capture.run(2), 1) << step;
        EXPECT_NEAR(capture.error_ms(), step * 1e3, 20.0);
        EXPECT_NEAR(*capture.clock.drift_ppm(), 50.0, 5.0);
        EXPECT_EQ(capture.run(600), 0);
        EXPECT_NEAR(capture.error_ms(), step * 1e3, 8.0);
        EXPECT_NEAR(*capture.clock.drift_ppm(), 50.0, 4.0);
    }
}

TEST(SampleClock, TakesALateBurstForNoStep) {
    // For 2 s nothing comes; then all of it at once, with the time of its arrival.
    Capture capture{.error = [](double t) { return t >= 60.0 && t < 62.0 ? 62.0 - t : 0.0; }};
    EXPECT_EQ(capture.run(120), 0);
    EXPECT_NEAR(capture.error_ms(), 0.0, 5.0);
}

TEST(SampleClock, BeginsAnewAtAnotherRateAndWhenAsked) {
    Capture capture{.drift_ppm = 50.0};
    capture.run(120);
    capture.clock.restart();
    capture.clock.observe(capture.index, kBegin + 24h, kRate);
    EXPECT_EQ(capture.clock.utc(capture.index), kBegin + 24h);
    EXPECT_TRUE(capture.clock.drift_ppm());
    capture.clock.observe(capture.index, kBegin, 44'100);
    EXPECT_EQ(capture.clock.utc(capture.index), kBegin);
    EXPECT_FALSE(capture.clock.drift_ppm());
}

/// Sound that arrives in lumps: each lump's blocks, all at the moment its last sample has sounded.
struct Lumps {
    SampleClock clock{};
    std::int64_t index = 0;
    int steps = 0;

    void arrive(double seconds, UtcTime at) {
        for (const auto end = index + static_cast<std::int64_t>(seconds * kRate); index < end; index += kBlock)
            steps += clock.observe_arrival(index, at - SampleClock::offset(kBlock, kRate), kRate);
    }
    /// How far from the truth the last sample is dated.
    std::chrono::microseconds error(UtcTime truth) const { return *clock.utc(index) - truth; }
};

TEST(SampleClock, TakesABurstAtTheBeginningForOldSound) {
    Lumps lumps;
    lumps.arrive(6.0, kBegin);
    EXPECT_LT(std::chrono::abs(lumps.error(kBegin)), 300ms);
    for (int block = 1; block <= 800; ++block) lumps.arrive(0.125, kBegin + block * 125ms);
    EXPECT_LT(std::chrono::abs(lumps.error(kBegin + 100s)), 300ms);
    EXPECT_EQ(lumps.steps, 0) << "no clock was set";
}

TEST(SampleClock, DatesSegmentsByTheirEnds) {
    Lumps lumps;
    for (int segment = 1; segment <= 100; ++segment) {
        lumps.arrive(6.0, kBegin + segment * 6s);
        EXPECT_LT(std::chrono::abs(lumps.error(kBegin + segment * 6s)), 300ms) << segment;
    }
    EXPECT_EQ(lumps.steps, 0);
}

}  // namespace
}  // namespace chorus
