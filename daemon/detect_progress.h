#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <ostream>

namespace chorus {

/// How far `detect` is, for people: on a terminal one line that is redrawn, elsewhere a plain line now and then. Any
/// thread.
class DetectProgress {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Style { kNone, kTerminal, kPlain };

    DetectProgress(std::ostream& out, Style style, std::function<Clock::time_point()> now = Clock::now);

    void begin(std::size_t recordings);
    /// So much more sound, of all channels together, has been analysed.
    void heard(double channel_seconds);
    void recording_done();
    /// Takes the line off the terminal while `write` writes there.
    void say(const std::function<void()>& write);
    /// The last line: what it all came to.
    void finish();

  private:
    void show(bool last);

    std::ostream& out_;
    const Style style_;
    const std::function<Clock::time_point()> now_;
    std::mutex mutex_;  // guards what follows, and the terminal
    std::size_t recordings_ = 0;
    std::size_t done_ = 0;
    double channel_seconds_ = 0;
    Clock::time_point began_;
    Clock::time_point shown_;
};

}  // namespace chorus
