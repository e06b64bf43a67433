#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <random>
#include <span>
#include <vector>

namespace chorus {

inline std::vector<float> sine(double hz, int rate_hz, double seconds, double amplitude = 0.5) {
    std::vector<float> samples(static_cast<std::size_t>(std::lround(seconds * rate_hz)));
    for (std::size_t n = 0; n < samples.size(); ++n) {
        const double t = static_cast<double>(n) / rate_hz;
        samples[n] = static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hz * t));
    }
    return samples;
}

/// As broadband() of make_front_end_golden.py.
inline std::vector<float> hiss(std::size_t count) {
    std::vector<float> samples(count);
    for (std::size_t n = 0; n < count; ++n) {
        samples[n] = static_cast<float>(static_cast<std::uint32_t>(2654435769U * n * n) * 0x1p-32 - 0.5);
    }
    return samples;
}

/// torchaudio.transforms.Resample with its defaults (windowed sinc: Hann, width 6, rolloff 0.99).
inline std::vector<float> resample_like_torchaudio(std::span<const float> in, int from_hz, int to_hz) {
    constexpr double kWidth = 6;
    const std::int64_t from = from_hz / std::gcd(from_hz, to_hz);
    const std::int64_t to = to_hz / std::gcd(from_hz, to_hz);
    const double cutoff = 0.99 * static_cast<double>(std::min(from, to));
    const auto reach = static_cast<std::int64_t>(std::ceil(kWidth * static_cast<double>(from) / cutoff));
    std::vector<float> out((in.size() * static_cast<std::size_t>(to) + static_cast<std::size_t>(from) - 1) /
                           static_cast<std::size_t>(from));
    for (std::size_t k = 0; k < out.size(); ++k) {
        const auto phase = static_cast<std::int64_t>(k) % to;
        const std::int64_t base = static_cast<std::int64_t>(k) / to * from;
        const double shift = static_cast<float>(phase) / static_cast<float>(to);  // in single precision there too
        double sum = 0;
        for (std::int64_t i = phase * from / to - reach; i <= phase * from / to + reach + 1; ++i) {
            const double t = (static_cast<double>(i) / static_cast<double>(from) - shift) * cutoff;
            if (std::abs(t) >= kWidth || base + i < 0 || base + i >= std::ssize(in)) continue;
            const double window = std::pow(std::cos(t * std::numbers::pi / kWidth / 2), 2);
            const double sinc = t == 0 ? 1 : std::sin(std::numbers::pi * t) / (std::numbers::pi * t);
            const auto weight = static_cast<float>(window * sinc * cutoff / static_cast<double>(from));
            sum += double{in[static_cast<std::size_t>(base + i)]} * weight;
        }
        out[k] = static_cast<float>(sum);
    }
    return out;
}

/// Calls `push` with all samples, cut into blocks of random sizes from 1 to `longest`.
template <typename Push>
void in_random_blocks(std::span<const float> samples, std::uint32_t seed, std::size_t longest, Push push) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<std::size_t> size(1, longest);
    while (!samples.empty()) {
        const auto block = samples.first(std::min(size(random), samples.size()));
        push(block);
        samples = samples.subspan(block.size());
    }
}

}  // namespace chorus
