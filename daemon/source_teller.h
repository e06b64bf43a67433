#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "daemon/channel_health.h"
#include "daemon/repeat_limiter.h"
#include "daemon/source_status.h"

namespace chorus {

/// What is said of a source: its state, by SourceStatus, and its lines in the log, of which those that repeat are said
/// once a minute. One thread.
class SourceTeller {
  public:
    explicit SourceTeller(std::string name);

    void sound(MonotonicTime now) { status_.sound(now); }
    /// It failed and is opened again after `pause`; `message` names it.
    void failed(const std::string& message, std::chrono::milliseconds pause);
    /// A file failed for good.
    void given_up(const std::string& message);
    /// Opening or closing it takes longer than sound may stay away. Said again and again, logged once.
    void hangs(const std::string& message, bool first);
    void lost(std::string what);
    void clock_was_set(const std::string& whose, std::chrono::duration<double> jump, std::int64_t first_sample);
    /// `changed`: channels whose faults are others than before.
    void faults(const ChannelHealth& health, const std::vector<int>& changed);
    void forget_faults() { status_.channel_faults(""); }
    void enter(SourceState state) { status_.set(state, ""); }

    /// Brings the state up to `now`, logs that it changed and what is due; true where it changed. Call now and then.
    bool update(MonotonicTime now);
    SourceState state() const { return status_.state(); }
    /// Why it isn't simply up; empty otherwise.
    const std::string& reason() const { return status_.reason(); }

  private:
    static void warn(RepeatLimiter& lines, std::string text);

    const std::string name_;
    SourceStatus status_;
    RepeatLimiter failure_lines_;
    RepeatLimiter loss_lines_;
    RepeatLimiter clock_lines_;
};

}  // namespace chorus
