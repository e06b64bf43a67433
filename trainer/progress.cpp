#include "trainer/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

namespace chorus {
namespace {

using std::chrono::duration;

constexpr std::size_t kBarWidth = 24;
constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(10);

std::string minutes_and_seconds(double seconds) {
    const auto whole = static_cast<long>(seconds + 0.5);
    if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress(std::ostream& out, Style style, std::function<Clock::time_point()> now)
    : out_(out), style_(style), now_(std::move(now)) {}

void Progress::begin(std::string_view what, std::uint64_t total, std::string_view unit) {
    what_ = what;
    unit_ = unit;
    total_ = total;
    done_ = 0;
    began_ = now_();
    shown_ = began_;
}

void Progress::update(std::uint64_t done, std::string_view note) {
    done_ = done;
    const auto now = now_();
    if (now - shown_ <
        (style_ == Style::kTerminal ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval)))
        return;
    shown_ = now;
    show(note, false);
}

void Progress::finish(std::string_view note) {
    show(note, true);
}

void Progress::say(std::string_view line) {
    out_ << line << std::endl;
}

void Progress::show(std::string_view note, bool last) {
    const double elapsed = duration<double>(now_() - began_).count();
    const double rate = elapsed > 0.0 ? static_cast<double>(done_) / elapsed : 0.0;
    const double share = total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 1.0;
    std::string line = what_;
    if (style_ == Style::kTerminal) {
        const auto filled = static_cast<std::size_t>(share * kBarWidth);
        line = fmt::format("\r{} [{}{}]", what_, std::string(filled, '#'), std::string(kBarWidth - filled, '.'));
    }
    line += fmt::format(" {}/{} {}, {:.1f}/s", done_, total_, unit_, rate);
    if (last)
        line += fmt::format(", took {}", minutes_and_seconds(elapsed));
    else if (rate > 0.0)
        line +=
            fmt::format(", {} left", minutes_and_seconds(static_cast<double>(total_ - std::min(done_, total_)) / rate));
    if (!note.empty()) line += fmt::format(", {}", note);
    if (style_ == Style::kTerminal) line += "\x1b[K";  // what a longer line left behind
    if (style_ == Style::kPlain || last) line += '\n';
    out_ << line << std::flush;
}

Progress make_stderr_progress() {
    return Progress(std::cerr, isatty(STDERR_FILENO) != 0 ? Progress::Style::kTerminal : Progress::Style::kPlain);
}

Progress make_silent_progress() {
    static std::ostream nowhere(nullptr);
    return Progress(nowhere, Progress::Style::kPlain);
}

}  // namespace chorus
