#include "daemon/channel_health.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <random>

namespace chorus {
namespace {

constexpr int kRate = 16'000;

/// One channel a function of the sample index.
using Signal = std::function<float(std::int64_t)>;

Signal noise(unsigned seed, float level = 0.01F) {
    return [random = std::mt19937(seed), normal = std::normal_distribution<float>(0.0F, level)](std::int64_t) mutable {
        return normal(random);
    };
}

Signal tone(double frequency, float level) {
    return [=](std::int64_t i) {
        return level * static_cast<float>(std::sin(2 * std::numbers::pi * frequency * static_cast<double>(i) / kRate));
    };
}

class Listener {
  public:
    explicit Listener(int channels) : health(channels, kRate) {}

    // How often faults changed.
    int hear(std::vector<Signal> signals, int seconds, std::int64_t block = 1'234) {
        int changes = 0;
        std::vector<float> samples;
        for (const auto end = index + seconds * std::int64_t{kRate}; index < end;
             index += std::min(block, end - index)) {
            for (std::size_t c = 0; c < signals.size(); ++c) {
                samples.clear();
                for (std::int64_t i = index; i < std::min(index + block, end); ++i) samples.push_back(signals[c](i));
                health.push(static_cast<int>(c), samples);
            }
            changes += static_cast<int>(health.review().size());
        }
        return changes;
    }
    std::string faults(int channel) const { return to_string(health.faults(channel)); }

    ChannelHealth health;
    std::int64_t index = 0;
};

TEST(ChannelHealth, MeasuresTheLevelOfABlock) {
    ChannelHealth health(1, kRate);
    const std::vector<float> samples = {0.5F, -0.5F, 1.0F, -1.0F};
    const auto level = health.push(0, samples);
    EXPECT_NEAR(level.rms_dbfs, 10 * std::log10(0.625), 1e-6);
    EXPECT_EQ(level.clipped, 2);
}

TEST(ChannelHealth, FindsNothingWrongWithUsualSound) {
    Listener listener(4);
    EXPECT_EQ(listener.hear({noise(1), noise(2), tone(1000, 0.5F), tone(1001, 0.5F)}, 40), 0);
}

TEST(ChannelHealth, NoticesADeadChannelAfterTenSecondsAndItsReturn) {
    Listener listener(2);
    const Signal silence = [](std::int64_t) { return 0.0F; };
    EXPECT_EQ(listener.hear({noise(1), silence}, 9), 0);
    listener.hear({noise(1), silence}, 3);
    EXPECT_EQ(listener.faults(0), "");
    EXPECT_EQ(listener.faults(1), "dead");
    listener.hear({noise(1), noise(2)}, 8);
    EXPECT_EQ(listener.faults(1), "dead");
    listener.hear({noise(1), noise(2)}, 4);
    EXPECT_EQ(listener.faults(1), "");
}

TEST(ChannelHealth, TakesTwoDeadChannelsForNoDuplicates) {
    Listener listener(2);
    const Signal silence = [](std::int64_t) { return 0.0F; };
    listener.hear({silence, silence}, 15);
    EXPECT_EQ(listener.faults(0), "dead");
    EXPECT_EQ(listener.faults(1), "dead");
}

TEST(ChannelHealth, HearsTheFaintestSixteenBitSound) {
    Listener listener(1);
    const Signal faint = [](std::int64_t i) { return i % 100 == 0 ? 1.0F / 32768.0F : 0.0F; };
    EXPECT_EQ(listener.hear({faint}, 30), 0);
}

TEST(ChannelHealth, NoticesClippingThatLasts) {
    Listener listener(2);
    const auto loud = [](std::int64_t i) { return std::clamp(tone(500, 3.0F)(i), -1.0F, 1.0F); };
    const Signal shouts = [=](std::int64_t i) { return i / kRate % 5 == 0 ? loud(i) : tone(500, 0.1F)(i); };
    listener.hear({loud, shouts}, 30);
    EXPECT_EQ(listener.faults(0), "clipped");
    EXPECT_EQ(listener.faults(1), "") << "an animal that calls close by now and then is no fault";
}

TEST(ChannelHealth, NoticesADcShift) {
    Listener listener(2);
    const auto shifted = [sound = noise(1)](std::int64_t i) mutable { return sound(i) + 0.2F; };
    listener.hear({shifted, noise(2)}, 15);
    EXPECT_EQ(listener.faults(0), "dc");
    EXPECT_EQ(listener.faults(1), "");
}

TEST(ChannelHealth, TakesTwoShiftedChannelsForNoDuplicates) {
    Listener listener(2);
    const auto shifted = [](unsigned seed) {
        return [sound = noise(seed)](std::int64_t i) mutable { return sound(i) + 0.2F; };
    };
    listener.hear({shifted(1), shifted(2)}, 15);
    EXPECT_EQ(listener.faults(0), "dc");
    EXPECT_EQ(listener.faults(1), "dc");
}

TEST(ChannelHealth, NoticesDuplicatesBitForBitScaledAndShifted) {
    Listener listener(4);
    listener.hear({noise(1), noise(1), noise(2), noise(1, 0.003F)}, 15);
    for (const int same : {0, 1, 3}) EXPECT_EQ(listener.faults(same), "duplicate") << same;
    EXPECT_EQ(listener.faults(2), "");
}

TEST(ChannelHealth, TellsMicrophonesThatHearMuchTheSameApart) {
    // The same sound with 1 % of the power each microphone's own: a correlation of 0.99.
    const auto near = [](unsigned own) {
        return [shared = noise(1), self = noise(own, 0.001F)](std::int64_t i) mutable { return shared(i) + self(i); };
    };
    Listener listener(2);
    EXPECT_EQ(listener.hear({near(2), near(3)}, 60), 0);
}

TEST(ChannelHealth, SaysTheSameForAnyBlockSizes) {
    for (const std::int64_t block : {1, 7, 500, 16'000, 40'000}) {
        Listener listener(2);
        listener.hear({noise(1), noise(1)}, 60, block);
        EXPECT_EQ(listener.faults(0), "duplicate") << block;
    }
}

TEST(ChannelHealth, DoesNotFlickerWithAFaultThatComesAndGoes) {
    Listener listener(1);
    const Signal loose = [sound = noise(1)](std::int64_t i) mutable { return i / kRate % 6 < 3 ? 0.0F : sound(i); };
    EXPECT_EQ(listener.hear({loose}, 120), 0);
}

}  // namespace
}  // namespace chorus
