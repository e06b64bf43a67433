#include "daemon/ledger.h"

#include <numeric>

namespace chorus {

std::string to_string(DropReason reason) {
    switch (reason) {
        case DropReason::kOverload:
            return "overload";
        case DropReason::kShort:
            return "short";
        case DropReason::kShutdown:
            return "shutdown";
        case DropReason::kError:
            return "error";
    }
    return "unknown";
}

bool SampleCounts::balanced() const {
    return in == analysed + std::accumulate(dropped.begin(), dropped.end(), std::int64_t{0}) + pending && pending >= 0;
}

void Ledger::ensure_channels(int channels) {
    const std::lock_guard lock(mutex_);
    if (channels_.size() < static_cast<std::size_t>(channels)) channels_.resize(static_cast<std::size_t>(channels));
}

void Ledger::heard(int channel, std::int64_t samples, double rms_dbfs, std::int64_t clipped) {
    const std::lock_guard lock(mutex_);
    auto& [counts, level, faults] = channels_[static_cast<std::size_t>(channel)];
    counts.in += samples;
    counts.pending += samples;
    level.rms_dbfs = rms_dbfs;
    level.clipped_samples += clipped;
}

void Ledger::analysed(int channel, std::int64_t samples) {
    const std::lock_guard lock(mutex_);
    auto& [counts, level, faults] = channels_[static_cast<std::size_t>(channel)];
    counts.analysed += samples;
    counts.pending -= samples;
    ++level.windows;
}

void Ledger::dropped(int channel, std::int64_t samples, DropReason reason) {
    const std::lock_guard lock(mutex_);
    auto& counts = channels_[static_cast<std::size_t>(channel)].samples;
    counts.dropped[static_cast<std::size_t>(reason)] += samples;
    counts.pending -= samples;
}

void Ledger::set_faults(int channel, ChannelFaults faults) {
    const std::lock_guard lock(mutex_);
    channels_[static_cast<std::size_t>(channel)].faults = faults;
}

void Ledger::clear_faults() {
    const std::lock_guard lock(mutex_);
    for (auto& channel : channels_) channel.faults.reset();
}

std::vector<ChannelReport> Ledger::report() const {
    const std::lock_guard lock(mutex_);
    return channels_;
}

}  // namespace chorus
