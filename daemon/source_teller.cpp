#include "daemon/source_teller.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace chorus {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kLineInterval{60};  // lines that repeat are summed up so often

}  // namespace

SourceTeller::SourceTeller(std::string name)
    : name_(std::move(name)), failure_lines_(kLineInterval), loss_lines_(kLineInterval), clock_lines_(kLineInterval) {}

void SourceTeller::failed(const std::string& message, std::chrono::milliseconds pause) {
    warn(failure_lines_,
         fmt::format("{}; trying again in {:.1f} s", message, std::chrono::duration<double>(pause).count()));
    status_.failed(steady_clock::now(), message);
}

void SourceTeller::given_up(const std::string& message) {
    spdlog::error("source {}", message);
    status_.set(SourceState::kFailed, message);
}

void SourceTeller::hangs(const std::string& message, bool first) {
    if (first) warn(failure_lines_, message + " already");
    status_.failed(steady_clock::now(), message);
}

void SourceTeller::lost(std::string what) {
    warn(loss_lines_, fmt::format("{}: {}", name_, what));
    status_.lost(steady_clock::now(), std::move(what));
}

void SourceTeller::clock_was_set(const std::string& whose, std::chrono::duration<double> jump,
                                 std::int64_t first_sample) {
    warn(clock_lines_, fmt::format("{}: the {} clock was set by {:+.3f} s: sound is dated by it from sample {} on",
                                   name_, whose, jump.count(), first_sample));
}

void SourceTeller::faults(const ChannelHealth& health, const std::vector<int>& changed) {
    if (changed.empty()) return;
    for (const int channel : changed) {
        const auto faults = health.faults(channel);
        if (faults.any()) {
            spdlog::warn("source {}: channel {} is faulty: {}", name_, channel, to_string(faults));
        } else {
            spdlog::info("source {}: channel {} is sound again", name_, channel);
        }
    }
    std::string all;
    for (int channel = 0; channel < health.channels(); ++channel) {
        if (health.faults(channel).none()) continue;
        all += fmt::format("{}channel {}: {}", all.empty() ? "" : "; ", channel, to_string(health.faults(channel)));
    }
    status_.channel_faults(std::move(all));
}

bool SourceTeller::update(MonotonicTime now) {
    for (auto* lines : {&failure_lines_, &loss_lines_, &clock_lines_}) {
        if (const auto sum = lines->overdue(now)) spdlog::warn("source {}", *sum);
    }
    if (!status_.update(now)) return false;
    switch (status_.state()) {
        case SourceState::kUp:
            spdlog::info("source {}: sound comes in", name_);
            break;
        case SourceState::kDegraded:
            spdlog::warn("source {}: degraded: {}", name_, status_.reason());
            break;
        case SourceState::kOff:
            spdlog::info("source {}: off until its hours begin", name_);
            break;
        case SourceState::kEnded:
            spdlog::info("source {}: ended", name_);
            break;
        default:  // why it is down or has failed has been said
            break;
    }
    return true;
}

void SourceTeller::warn(RepeatLimiter& lines, std::string text) {
    if (const auto line = lines.admit(steady_clock::now(), std::move(text))) spdlog::warn("source {}", *line);
}

}  // namespace chorus
