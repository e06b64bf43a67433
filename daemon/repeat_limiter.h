#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace chorus {

/// Lets a line that repeats through at most once an interval, and sums up those it held back. One thread.
class RepeatLimiter {
  public:
    using Time = std::chrono::steady_clock::time_point;

    explicit RepeatLimiter(std::chrono::seconds interval) : interval_(interval) {}

    /// What is to be said of this one now, if anything.
    std::optional<std::string> admit(Time now, std::string text) {
        last_text_ = std::move(text);
        if (last_ && now - *last_ < interval_) {
            ++held_;
            return std::nullopt;
        }
        return release(now);
    }

    /// The sum of those held back, once the interval is over though nothing new has come.
    std::optional<std::string> overdue(Time now) {
        if (held_ == 0 || now - *last_ < interval_) return std::nullopt;
        --held_;
        return release(now);
    }

  private:
    std::string release(Time now) {
        const auto held = std::exchange(held_, 0);
        last_ = now;
        if (held == 0) return last_text_;
        return fmt::format("{} ({} more like it)", last_text_, held);
    }

    std::chrono::seconds interval_;
    std::optional<Time> last_;
    std::string last_text_;
    std::int64_t held_ = 0;
};

}  // namespace chorus
