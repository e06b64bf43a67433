#include "daemon/detect_progress.h"

#include <fmt/format.h>

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kTerminalInterval = 200ms;
constexpr auto kPlainInterval = 10s;
constexpr const char* kClearLine = "\r\x1b[K";

}  // namespace

DetectProgress::DetectProgress(std::ostream& out, Style style, std::function<Clock::time_point()> now)
    : out_(out), style_(style), now_(std::move(now)) {}

void DetectProgress::begin(std::size_t recordings) {
    const std::lock_guard lock(mutex_);
    recordings_ = recordings;
    began_ = now_();
    shown_ = began_;
}

void DetectProgress::heard(double channel_seconds) {
    const std::lock_guard lock(mutex_);
    channel_seconds_ += channel_seconds;
    show(false);
}

void DetectProgress::recording_done() {
    const std::lock_guard lock(mutex_);
    ++done_;
    show(false);
}

void DetectProgress::say(const std::function<void()>& write) {
    const std::lock_guard lock(mutex_);
    if (style_ == Style::kTerminal) out_ << kClearLine << std::flush;
    write();
}

void DetectProgress::finish() {
    const std::lock_guard lock(mutex_);
    show(true);
}

void DetectProgress::show(bool last) {
    if (style_ == Style::kNone) return;
    const auto now = now_();
    const auto interval = style_ == Style::kTerminal ? Clock::duration(kTerminalInterval) : kPlainInterval;
    if (!last && now - shown_ < interval) return;
    shown_ = now;
    const double elapsed = std::chrono::duration<double>(now - began_).count();
    out_ << fmt::format("{}{} of {} recordings, {:.3f} channel-hours in {:.1f} s: {:.0f} times real time{}",
                        style_ == Style::kTerminal ? kClearLine : "", done_, recordings_, channel_seconds_ / 3600,
                        elapsed, elapsed > 0 ? channel_seconds_ / elapsed : 0,
                        style_ == Style::kPlain || last ? "\n" : "")
         << std::flush;
}

}  // namespace chorus
