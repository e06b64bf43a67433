#include "daemon/event_grouper.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace chorus {
namespace {

/// Groups of a class that can still be joined though all their events have closed; beyond, the oldest is forgotten.
constexpr std::ptrdiff_t kClosedGroups = 256;

}  // namespace

EventGrouper::EventGrouper(double tolerance_seconds, double update_seconds)
    : tolerance_seconds_(tolerance_seconds), update_seconds_(update_seconds) {}

bool EventGrouper::assign(Event& event) {
    const std::string id = event_id(event);
    bool joined = false;
    auto known = of_event_.find(id);
    if (known == of_event_.end()) {
        auto& groups = groups_[event.code];
        auto group =
            std::find_if(groups.begin(), groups.end(), [&](const Group& each) { return is_near(each, event); });
        joined = group != groups.end();
        if (!joined) {
            const auto closed = [](const Group& each) { return each.open_events == 0; };
            if (std::count_if(groups.begin(), groups.end(), closed) > kClosedGroups)
                groups.erase(std::find_if(groups.begin(), groups.end(), closed));
            group = groups.insert(groups.end(), Group{.first = event, .told = {.id = id, .strongest = id}});
        }
        ++group->open_events;
        known = of_event_.emplace(id, group).first;
    }

    Group& group = *known->second;
    if (event.peak_score > group.strongest_score) {
        group.strongest_score = event.peak_score;
        group.told.strongest = id;
    }
    event.group = group.told;
    const bool closes = event.phase == EventPhase::kClose;
    if (group.told.id == id) {
        group.first.end_sample = event.end_sample;
        group.first.end = event.end;
        group.first_is_open = !closes;
    }
    if (closes) {
        --group.open_events;
        of_event_.erase(known);
    }
    return joined;
}

bool EventGrouper::is_near(const Group& group, const Event& event) const {
    const Event& first = group.first;
    if (first.source == event.source && first.channel == event.channel) return false;
    const bool same_source = first.slot == event.slot;
    const double after = tolerance_seconds_ + (group.first_is_open ? update_seconds_ : 0.0);
    if (same_source && first.sample_rate_hz == event.sample_rate_hz) {
        const auto samples = [&](double seconds) {
            return static_cast<std::int64_t>(std::llround(seconds * event.sample_rate_hz));
        };
        return event.start_sample - first.end_sample <= samples(after) &&
               first.start_sample - event.end_sample <= samples(tolerance_seconds_);
    }
    if (!first.start || !first.end || !event.start || !event.end) return false;
    const auto seconds = [](UtcTime to, UtcTime from) { return std::chrono::duration<double>(to - from).count(); };
    return seconds(*event.start, *first.end) <= after && seconds(*first.start, *event.end) <= tolerance_seconds_;
}

}  // namespace chorus
