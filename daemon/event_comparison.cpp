#include "daemon/event_comparison.h"

#include <algorithm>

namespace chorus {

std::string to_string(Found found) {
    switch (found) {
        case Found::kBoth:
            return "both";
        case Found::kLive:
            return "live";
        case Found::kCandidate:
            return "candidate";
    }
    return "";
}

void EventComparison::add(Side side, const Event& event) {
    const Key key{event.slot, event.channel, event.code};
    auto& spans = undecided_[key];
    if (event.phase == EventPhase::kOpen) {
        spans.push_back({.side = side, .start = event.start_sample, .end = event.end_sample, .open = true});
        return;
    }
    const auto open =
        std::find_if(spans.begin(), spans.end(), [&](const Span& span) { return span.open && span.side == side; });
    if (open == spans.end()) return;
    open->end = event.end_sample;
    open->open = event.phase != EventPhase::kClose;
    if (std::any_of(spans.begin(), spans.end(), [](const Span& span) { return span.open; })) return;
    decide(event.code, spans);
    undecided_.erase(key);
}

void EventComparison::decide(const std::string& code, const std::vector<Span>& spans) const {
    for (const auto& span : spans) {
        const bool paired = std::any_of(spans.begin(), spans.end(), [&](const Span& other) {
            return other.side != span.side && other.start < span.end && span.start < other.end;
        });
        if (span.side == Side::kLive) {
            tell_(code, paired ? Found::kBoth : Found::kLive);
        } else if (!paired) {
            tell_(code, Found::kCandidate);
        }
    }
}

}  // namespace chorus
