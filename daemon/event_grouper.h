#pragma once
// The same animal on four microphones: events of one class that several channels heard at about the same time share a
// group. Pure: no I/O, no clock; the same events in the same order give the same groups.

#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

#include "daemon/event.h"

namespace chorus {

/// The rule: an event that opens joins the oldest group of its class whose first event is another channel's and at most
/// `tolerance` away from it, else it begins a group. Two events are as far apart as the silence between them; the first
/// one, while open, lasts as long as it may without an update. Within a source sample indices are compared, across
/// sources, and across a source's renewal by a reload, UTC, where both have it. Groups don't grow through their later members, so a chorus doesn't chain.
class EventGrouper {
  public:
    EventGrouper(double tolerance_seconds, double update_seconds);

    /// Sets event.group. Events come as they are published: each opens, may be updated, and closes. True when an event
    /// opened in a group that was there.
    bool assign(Event& event);

  private:
    struct Group {
        Event first;  // as last seen
        bool first_is_open = true;
        EventGroup told;
        float strongest_score = 0;
        std::size_t open_events = 0;
    };
    using Groups = std::list<Group>;  // in the order of their beginnings

    bool is_near(const Group& group, const Event& event) const;

    const double tolerance_seconds_;
    const double update_seconds_;
    std::map<std::string, Groups> groups_;                        // by class
    std::unordered_map<std::string, Groups::iterator> of_event_;  // open events, by id
};

}  // namespace chorus
