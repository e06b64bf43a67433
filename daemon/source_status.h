#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "streaming/audio_block.h"

namespace chorus {

enum class SourceState { kStarting, kUp, kDegraded, kDown, kOff, kEnded, kFailed };
inline constexpr std::array kSourceStates = {SourceState::kStarting, SourceState::kUp,  SourceState::kDegraded,
                                             SourceState::kDown,     SourceState::kOff, SourceState::kEnded,
                                             SourceState::kFailed};
std::string to_string(SourceState state);
/// Up or degraded: it is analysed.
bool gives_sound(SourceState state);

/// What is said of a source's state, with hysteresis, so that one that flaps doesn't flood its readers: a source that
/// was down is up again after 2 s of sound, is degraded for a minute after its last failure or loss, and one that is
/// degraded is down only after 5 s without sound. Pure: times are given. One thread.
class SourceStatus {
  public:
    static constexpr std::chrono::seconds kSteady{2};
    static constexpr std::chrono::seconds kGrace{5};
    static constexpr std::chrono::seconds kLately{60};

    void sound(MonotonicTime now);
    void lost(MonotonicTime now, std::string what);
    void failed(MonotonicTime now, std::string error);
    /// Which channels are faulty; empty: none.
    void channel_faults(std::string which) { channel_faults_ = std::move(which); }
    /// Off, ended or failed for good: said at once. Also back to starting.
    void set(SourceState state, std::string reason);

    /// Brings what is said up to `now`; true where the state changed. Call now and then.
    bool update(MonotonicTime now);

    SourceState state() const { return state_; }
    /// Why it isn't simply up; empty otherwise.
    const std::string& reason() const { return reason_; }

  private:
    void say(SourceState state, const std::string& reason);

    SourceState state_ = SourceState::kStarting;
    std::string reason_;
    SourceState told_ = SourceState::kStarting;  // by the last update()
    std::optional<MonotonicTime> sound_since_;   // none: no sound comes
    std::optional<MonotonicTime> failed_at_;
    std::optional<MonotonicTime> last_trouble_;
    std::string error_;
    std::string trouble_;
    std::string channel_faults_;
};

}  // namespace chorus
