#pragma once

#include <chrono>
#include <string>

#include "streaming/audio_block.h"

namespace chorus {

/// What systemd is told (sd_notify); nothing where the program was not started by it. One thread.
class ServiceManager {
  public:
    ServiceManager();

    void ready();
    void reloading();  // ends with ready()
    void stopping();
    /// Shown by `systemctl status`; sent when it differs from the last.
    void status(const std::string& text);
    /// Feeds the watchdog, as often as the unit's WatchdogSec asks for. Not calling it ends the service.
    void feed_watchdog(MonotonicTime now);

  private:
    std::chrono::microseconds watchdog_{0};  // between feeds; 0: none is wanted
    MonotonicTime next_feed_{};
    std::string last_status_;
};

}  // namespace chorus
