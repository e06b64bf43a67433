#pragma once

#include <array>
#include <chrono>
#include <string>

#include "daemon/channel_health.h"
#include "daemon/repeat_limiter.h"
#include "daemon/source_status.h"

namespace chorus {

/// The log lines of one source. Those that repeat are summed up once a minute. One thread.
class SourceLog {
  public:
    explicit SourceLog(std::string name) : name_(std::move(name)) {}

    void failed(const std::string& message, std::chrono::duration<double> pause);
    void given_up(const std::string& message);
    void lost(const std::string& what);
    /// The clock that dates the sound jumped; from `sample` on it counts.
    void clock_set(bool senders, std::chrono::duration<double> jump, std::int64_t sample);
    void state(SourceState state, const std::string& reason);
    void faults(int channel, ChannelFaults faults);

    /// Says what was held back for long enough. Call now and then.
    void sum_up();

  private:
    static constexpr std::chrono::seconds kInterval{60};
    void warn(RepeatLimiter& lines, std::string text);

    const std::string name_;
    RepeatLimiter failures_{kInterval};
    RepeatLimiter losses_{kInterval};
    RepeatLimiter clocks_{kInterval};
};

}  // namespace chorus
