#include "daemon/channel_health.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace chorus {
namespace {

// Full scale of 16-bit sound, the narrowest that stations record.
constexpr float kClipLevel = 32767.0F / 32768.0F;
constexpr double kDeadVariance = 1e-12;  // -120 dBFS
constexpr double kClippedShare = 1e-3;
constexpr double kDcShift = 0.05;
constexpr double kDuplicateDistance = 1e-3;  // squared, of signals of unit length: 2 (1 - correlation)

constexpr std::size_t kLanes = 16;  // as many as projections: a compiler adds them at once
constexpr std::size_t kSigns = 4096;

// The first lanes once more at the end, so that a chunk needs no wrapping.
const std::array<float, kSigns + kLanes>& random_signs() {
    static const auto signs = [] {
        std::array<float, kSigns + kLanes> made{};
        std::minstd_rand random(20'261'123);
        for (std::size_t i = 0; i < kSigns; ++i) made[i] = (random() >> 16U & 1U) != 0 ? 1.0F : -1.0F;
        std::copy_n(made.begin(), kLanes, made.begin() + kSigns);
        return made;
    }();
    return signs;
}

struct Lanes {
    std::array<float, kLanes> sum{};
    std::array<float, kLanes> energy{};
    std::array<float, kLanes> clipped{};
    std::array<float, kLanes> sketch{};

    void add(std::size_t lane, float sample, float sign) {
        sum[lane] += sample;
        energy[lane] += sample * sample;
        clipped[lane] += std::abs(sample) >= kClipLevel ? 1.0F : 0.0F;
        sketch[lane] += sign * sample;
    }
};

// The samples' index within their second tells their signs.
Lanes add_up(std::span<const float> samples, std::size_t index) {
    const auto& signs = random_signs();
    Lanes lanes;
    std::size_t i = 0;
    for (; i + kLanes <= samples.size(); i += kLanes) {
        const float* const sign = signs.data() + (index + i) % kSigns;
        for (std::size_t lane = 0; lane < kLanes; ++lane) lanes.add(lane, samples[i + lane], sign[lane]);
    }
    for (; i < samples.size(); ++i) lanes.add(i % kLanes, samples[i], signs[(index + i) % kSigns]);
    return lanes;
}

double total(const std::array<float, kLanes>& lanes) {
    return std::accumulate(lanes.begin(), lanes.end(), 0.0);
}

}  // namespace

std::string to_string(ChannelFault fault) {
    switch (fault) {
        case ChannelFault::kDead:
            return "dead";
        case ChannelFault::kClipped:
            return "clipped";
        case ChannelFault::kDc:
            return "dc";
        case ChannelFault::kDuplicate:
            return "duplicate";
    }
    return "unknown";
}

std::string to_string(const ChannelFaults& faults) {
    std::string text;
    for (const auto fault : kChannelFaults) {
        if (!has(faults, fault)) continue;
        if (!text.empty()) text += ", ";
        text += to_string(fault);
    }
    return text;
}

ChannelHealth::ChannelHealth(int channels, int sample_rate_hz)
    : frames_per_second_(sample_rate_hz), channels_(static_cast<std::size_t>(channels)) {}

Level ChannelHealth::push(int number, std::span<const float> samples) {
    static_assert(kProjections == kLanes);
    auto& channel = channels_[static_cast<std::size_t>(number)];
    const auto index = static_cast<std::size_t>(frames_);
    const auto lanes = add_up(samples, index);
    const auto clipped = static_cast<std::int64_t>(total(lanes.clipped));
    channel.sum += total(lanes.sum);
    channel.energy += total(lanes.energy);
    channel.clipped += clipped;
    for (std::size_t k = 0; k < kProjections; ++k) channel.sketch[(index + k) % kProjections] += lanes.sketch[k];
    if (number + 1 == channels()) {
        for (std::size_t i = index; i < index + samples.size(); ++i)
            ones_[i % kProjections] += random_signs()[i % kSigns];
        frames_ += static_cast<std::int64_t>(samples.size());
    }
    const double mean_square = total(lanes.energy) / static_cast<double>(std::max<std::size_t>(samples.size(), 1));
    return {10.0 * std::log10(std::max(mean_square, 1e-20)), clipped};
}

std::vector<int> ChannelHealth::review() {
    if (frames_ < frames_per_second_) return {};
    std::vector<Sketch> directions(channels_.size());  // of unit length, without the mean
    for (std::size_t c = 0; c < channels_.size(); ++c) {
        const auto mean = static_cast<float>(channels_[c].sum / static_cast<double>(frames_));
        float length = 0;
        for (std::size_t k = 0; k < kProjections; ++k) {
            directions[c][k] = channels_[c].sketch[k] - mean * ones_[k];
            length += directions[c][k] * directions[c][k];
        }
        for (auto& part : directions[c]) part /= std::sqrt(std::max(length, 1e-30F));
    }
    std::vector<int> changed;
    for (std::size_t c = 0; c < channels_.size(); ++c) {
        const auto now = judge(c, directions);
        for (std::size_t fault = 0; fault < kChannelFaults.size(); ++fault) {
            auto& seconds = channels_[c].seconds[fault];
            seconds = now[fault] == channels_[c].faults[fault] ? 0 : seconds + 1;
            if (seconds < kSecondsToTell) continue;
            channels_[c].faults.flip(fault);
            seconds = 0;
            if (changed.empty() || changed.back() != static_cast<int>(c)) changed.push_back(static_cast<int>(c));
        }
    }
    frames_ = 0;
    ones_ = {};
    for (auto& channel : channels_) {
        channel.sum = channel.energy = 0;
        channel.clipped = 0;
        channel.sketch = {};
    }
    return changed;
}

double ChannelHealth::variance(const Channel& channel) const {
    const double mean = channel.sum / static_cast<double>(frames_);
    return channel.energy / static_cast<double>(frames_) - mean * mean;
}

ChannelFaults ChannelHealth::judge(std::size_t number, const std::vector<Sketch>& directions) const {
    const auto& channel = channels_[number];
    const auto frames = static_cast<double>(frames_);
    const bool dead = variance(channel) < kDeadVariance;
    ChannelFaults faults;
    faults[static_cast<std::size_t>(ChannelFault::kDead)] = dead;
    faults[static_cast<std::size_t>(ChannelFault::kClipped)] =
        static_cast<double>(channel.clipped) >= kClippedShare * frames;
    faults[static_cast<std::size_t>(ChannelFault::kDc)] = std::abs(channel.sum) > kDcShift * frames;
    const auto same = [&](std::size_t other) {
        if (other == number || variance(channels_[other]) < kDeadVariance) return false;
        float distance = 0;
        for (std::size_t k = 0; k < kProjections; ++k) {
            const float apart = directions[number][k] - directions[other][k];
            distance += apart * apart;
        }
        return static_cast<double>(distance) < kDuplicateDistance;
    };
    bool duplicate = false;
    for (std::size_t other = 0; other < channels_.size() && !dead && !duplicate; ++other) duplicate = same(other);
    faults[static_cast<std::size_t>(ChannelFault::kDuplicate)] = duplicate;
    return faults;
}

}  // namespace chorus
