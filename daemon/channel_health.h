#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace chorus {

enum class ChannelFault { kDead, kClipped, kDc, kDuplicate };
inline constexpr std::array kChannelFaults = {ChannelFault::kDead, ChannelFault::kClipped, ChannelFault::kDc,
                                              ChannelFault::kDuplicate};
std::string to_string(ChannelFault fault);

/// One bit a ChannelFault.
using ChannelFaults = std::bitset<kChannelFaults.size()>;
inline bool has(const ChannelFaults& faults, ChannelFault fault) {
    return faults[static_cast<std::size_t>(fault)];
}
/// "dead, dc"; empty without faults.
std::string to_string(const ChannelFaults& faults);

struct Level {
    double rms_dbfs = -200.0;
    std::int64_t clipped = 0;  // samples at full scale
};

/// Notices channels that can't be right, second by second; a fault begins and ends when it was there or not for 10 s:
/// dead: less than -120 dBFS without its mean (16-bit sound that moves at all is above), clipped: one sample in
/// a thousand or more at full scale, dc: a mean beyond 5 % of full scale, duplicate: correlated by more than 0.9995
/// with another channel. Correlations are told by 16 random projections of each channel, an addition a sample. One
/// thread.
class ChannelHealth {
  public:
    static constexpr int kSecondsToTell = 10;

    ChannelHealth(int channels, int sample_rate_hz);

    /// A block's samples of one channel; every channel gets each block, in turn from 0.
    Level push(int channel, std::span<const float> samples);

    /// After the block's last channel: those of which a fault began or ended.
    std::vector<int> review();

    const ChannelFaults& faults(int channel) const { return channels_[static_cast<std::size_t>(channel)].faults; }
    int channels() const { return static_cast<int>(channels_.size()); }

  private:
    static constexpr std::size_t kProjections = 16;
    using Sketch = std::array<float, kProjections>;
    struct Channel {
        double sum = 0;
        double energy = 0;
        std::int64_t clipped = 0;
        Sketch sketch{};
        std::array<int, kChannelFaults.size()> seconds{};  // how long the fault has been unlike what is told
        ChannelFaults faults;
    };

    ChannelFaults judge(std::size_t channel, const std::vector<Sketch>& directions) const;
    double variance(const Channel& channel) const;

    const std::int64_t frames_per_second_;
    std::int64_t frames_ = 0;  // of the second under way
    Sketch ones_{};            // the projections of a constant
    std::vector<Channel> channels_;
};

}  // namespace chorus
