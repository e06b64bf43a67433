#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

namespace chorus {

/// How far a long job is, for people: on a terminal one line with a bar that is redrawn; elsewhere a plain line now and
/// then. One thread at a time.
class Progress {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Style { kTerminal, kPlain };

    explicit Progress(std::ostream& out, Style style, std::function<Clock::time_point()> now = Clock::now);

    /// `unit` is what is counted, for the rate: "clips".
    void begin(std::string_view what, std::uint64_t total, std::string_view unit);
    /// `note` stands at the line's end: "loss 0.1234".
    void update(std::uint64_t done, std::string_view note = {});
    /// Ends the bar's line with what it came to.
    void finish(std::string_view note = {});
    /// A line of its own, between two jobs.
    void say(std::string_view line);

  private:
    void show(std::string_view note, bool last);

    std::ostream& out_;
    Style style_;
    std::function<Clock::time_point()> now_;
    std::string what_;
    std::string unit_;
    std::uint64_t total_ = 0;
    std::uint64_t done_ = 0;
    Clock::time_point began_;
    Clock::time_point shown_;
};

/// On stderr: a bar if that is a terminal.
Progress make_stderr_progress();
/// Shows nothing: of many processes one is enough.
Progress make_silent_progress();

}  // namespace chorus
