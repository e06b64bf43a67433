#pragma once
// What one of two models would have sent and the other not. Pure: no I/O, no clock.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "daemon/event.h"

namespace chorus {

enum class Found { kBoth, kLive, kCandidate };
std::string to_string(Found found);  // "both", "live", "candidate"

/// Pairs the events of two models that heard the same windows. Two of one class and channel are the same call where
/// they overlap in time. Every event of the live model is told of once, as kBoth or kLive, and every one of the
/// candidate that has no pair, as kCandidate; as soon as no event of the class is open on the channel. One thread.
class EventComparison {
  public:
    enum class Side { kLive, kCandidate };
    using Tell = std::function<void(const std::string& code, Found found)>;

    explicit EventComparison(Tell tell) : tell_(std::move(tell)) {}

    /// Events as they are made: each opens, may be updated, and closes.
    void add(Side side, const Event& event);

  private:
    struct Span {
        Side side;
        std::int64_t start;
        std::int64_t end;
        bool open;
    };
    using Key = std::tuple<std::size_t, int, std::string>;  // slot, channel, code
    void decide(const std::string& code, const std::vector<Span>& spans) const;

    const Tell tell_;
    std::map<Key, std::vector<Span>> undecided_;
};

}  // namespace chorus
