#include "daemon/source_log.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace chorus {

void SourceLog::failed(const std::string& message, std::chrono::duration<double> pause) {
    warn(failures_, fmt::format("{}; trying again in {:.1f} s", message, pause.count()));
}

void SourceLog::given_up(const std::string& message) {
    spdlog::error("source {}", message);
}

void SourceLog::lost(const std::string& what) {
    warn(losses_, fmt::format("{}: {}", name_, what));
}

void SourceLog::clock_set(bool senders, std::chrono::duration<double> jump, std::int64_t sample) {
    warn(clocks_, fmt::format("{}: the {} clock was set by {:+.3f} s: sound is dated by it from sample {} on", name_,
                              senders ? "sender's" : "system's", jump.count(), sample));
}

void SourceLog::state(SourceState state, const std::string& reason) {
    switch (state) {
        case SourceState::kUp:
            spdlog::info("source {}: sound comes in", name_);
            break;
        case SourceState::kDegraded:
            spdlog::warn("source {}: degraded: {}", name_, reason);
            break;
        case SourceState::kOff:
            spdlog::info("source {}: off until its hours begin", name_);
            break;
        case SourceState::kEnded:
            spdlog::info("source {}: ended", name_);
            break;
        case SourceState::kDown:
            spdlog::warn("source {}: down: {}", name_, reason);
            break;
        default:  // why it has failed has been said
            break;
    }
}

void SourceLog::faults(int channel, ChannelFaults faults) {
    if (faults.any()) {
        spdlog::warn("source {}: channel {} is faulty: {}", name_, channel, to_string(faults));
    } else {
        spdlog::info("source {}: channel {} is sound again", name_, channel);
    }
}

void SourceLog::sum_up() {
    const auto now = std::chrono::steady_clock::now();
    for (auto* lines : {&failures_, &losses_, &clocks_}) {
        if (const auto sum = lines->overdue(now)) spdlog::warn("source {}", *sum);
    }
}

void SourceLog::warn(RepeatLimiter& lines, std::string text) {
    if (const auto line = lines.admit(std::chrono::steady_clock::now(), std::move(text)))
        spdlog::warn("source {}", *line);
}

}  // namespace chorus
