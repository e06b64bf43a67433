#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/channel_health.h"

namespace chorus {

/// Why sound was not analysed.
enum class DropReason { kOverload, kShort, kShutdown, kError };
inline constexpr std::array kDropReasons = {DropReason::kOverload, DropReason::kShort, DropReason::kShutdown,
                                            DropReason::kError};
std::string to_string(DropReason reason);

/// Where every sample of one channel went. A sample is booked with the first window that holds it.
struct SampleCounts {
    std::int64_t in = 0;
    std::int64_t analysed = 0;
    std::array<std::int64_t, kDropReasons.size()> dropped{};
    std::int64_t pending = 0;

    /// samples_in = analysed + dropped + pending: holds at every moment.
    bool balanced() const;
};

/// What a channel sounds like, over the last block.
struct ChannelLevel {
    double rms_dbfs = -200.0;
    std::int64_t clipped_samples = 0;  // at full scale, since the start
    std::int64_t windows = 0;          // scored, since the start
};

struct ChannelReport {
    SampleCounts samples;
    ChannelLevel level;
    ChannelFaults faults;
};

/// The books of one source's channels. Any thread; a report is one consistent moment.
class Ledger {
  public:
    /// Channels only ever grow: one that is gone keeps its counts.
    void ensure_channels(int channels);

    void heard(int channel, std::int64_t samples, double rms_dbfs, std::int64_t clipped);
    void analysed(int channel, std::int64_t samples);
    void dropped(int channel, std::int64_t samples, DropReason reason);

    void set_faults(int channel, ChannelFaults faults);
    void clear_faults();

    std::vector<ChannelReport> report() const;

  private:
    mutable std::mutex mutex_;
    std::vector<ChannelReport> channels_;
};

}  // namespace chorus
