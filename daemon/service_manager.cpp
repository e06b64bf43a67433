#include "daemon/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <time.h>

namespace chorus {

ServiceManager::ServiceManager() {
    std::uint64_t microseconds = 0;
    if (sd_watchdog_enabled(0, &microseconds) > 0) watchdog_ = std::chrono::microseconds(microseconds / 4);
}

void ServiceManager::ready() {
    sd_notify(0, "READY=1");
}

void ServiceManager::reloading() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const auto text = fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000 + now.tv_nsec / 1000);
    sd_notify(0, text.c_str());
}

void ServiceManager::stopping() {
    sd_notify(0, "STOPPING=1");
}

void ServiceManager::status(const std::string& text) {
    if (text == last_status_) return;
    last_status_ = text;
    sd_notify(0, ("STATUS=" + text).c_str());
}

void ServiceManager::feed_watchdog(MonotonicTime now) {
    if (watchdog_.count() == 0 || now < next_feed_) return;
    sd_notify(0, "WATCHDOG=1");
    next_feed_ = now + watchdog_;
}

}  // namespace chorus
