#include "trainer/event_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/detector.h"

namespace chorus {
namespace {

using nlohmann::json;

/// Sums of decimal fractions of a second are off by less than this.
constexpr double kRounding = 1e-6;

/// The detector counts samples; it gets microseconds.
constexpr double kTicksASecond = 1e6;

std::int64_t to_ticks(double seconds) {
    return std::llround(seconds * kTicksASecond);
}

double overlap(const TimeSpan& a, const TimeSpan& b) {
    return std::min(a.end_seconds, b.end_seconds) - std::max(a.start_seconds, b.start_seconds);
}

/// As much of a call as a window must hold.
double needed(const TimeSpan& call, const WindowOptions& options) {
    return std::min(options.overlap_seconds, call.end_seconds - call.start_seconds);
}

/// Where windows lie that hold a call; in order, none reaching into another.
std::vector<TimeSpan> reach_of(std::span<const TimeSpan> calls, const WindowOptions& options) {
    std::vector<TimeSpan> spans;
    for (const auto& call : calls) {
        const double beside = options.window_seconds - needed(call, options);
        const TimeSpan span{call.start_seconds - beside, call.end_seconds + beside};
        if (!spans.empty() && span.start_seconds <= spans.back().end_seconds)
            spans.back().end_seconds = std::max(spans.back().end_seconds, span.end_seconds);
        else
            spans.push_back(span);
    }
    return spans;
}

double ratio(int part, int whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / whole;
}

/// What chorusd would tell of these rows of one channel, by class, with the defaults of its [detection].
std::vector<std::vector<TimeSpan>> detect(const EventSubject& subject, std::span<const std::size_t> places,
                                          double window_seconds) {
    constexpr double kMergeGapSeconds = 1.0;
    const auto classes = subject.table.classes;
    Detector detector({.thresholds = {subject.thresholds.begin(), subject.thresholds.end()},
                       .min_windows = std::vector<int>(classes, 1),
                       .merge_gap_samples = to_ticks(kMergeGapSeconds),
                       .update_samples = std::numeric_limits<std::int64_t>::max()});
    std::vector<Detection> told;
    for (const auto place : places) {
        const double start = subject.dataset.clips[subject.rows[place]].start_seconds;
        detector.add(to_ticks(start), to_ticks(start + window_seconds),
                     std::span(subject.table.scores).subspan(place * classes, classes), told);
    }
    detector.finish(told);
    std::vector<std::vector<TimeSpan>> events(classes);
    for (const auto& detection : told)
        if (detection.phase == EventPhase::kClose)
            events[detection.label].push_back({static_cast<double>(detection.start_sample) / kTicksASecond,
                                               static_cast<double>(detection.end_sample) / kTicksASecond});
    return events;
}

std::vector<TimeSpan> calls_of(const LabelledChannel& channel, std::size_t class_index) {
    std::vector<TimeSpan> calls;
    for (const auto& call : channel.calls)
        if (call.class_index == class_index) calls.push_back({call.start_seconds, call.end_seconds});
    std::sort(calls.begin(), calls.end(),
              [](const TimeSpan& a, const TimeSpan& b) { return a.start_seconds < b.start_seconds; });
    return calls;
}

}  // namespace

EventCounts match_events(std::span<const TimeSpan> events, std::span<const TimeSpan> calls,
                         const WindowOptions& options) {
    EventCounts counts{.events = static_cast<int>(events.size()), .calls = static_cast<int>(calls.size())};
    const auto reach = reach_of(calls, options);
    for (const auto& event : events) {
        double within = 0.0;
        for (const auto& span : reach) within += std::max(0.0, overlap(event, span));
        counts.right_events += within + kRounding >= 0.5 * (event.end_seconds - event.start_seconds);
    }
    for (const auto& call : calls)
        counts.found_calls += std::any_of(events.begin(), events.end(), [&](const TimeSpan& event) {
            const double held = overlap(event, call);
            return held > 0.0 && held + kRounding >= needed(call, options);
        });
    return counts;
}

double precision(const EventCounts& counts) {
    return ratio(counts.right_events, counts.events);
}
double recall(const EventCounts& counts) {
    return ratio(counts.found_calls, counts.calls);
}
double f1(const EventCounts& counts) {
    const double sum = precision(counts) + recall(counts);
    return sum == 0.0 ? 0.0 : 2.0 * precision(counts) * recall(counts) / sum;
}

json event_report(const EventSubject& subject, const WindowOptions& options) {
    std::map<std::pair<std::filesystem::path, std::optional<int>>, std::vector<std::size_t>> places;
    for (std::size_t place = 0; place < subject.rows.size(); ++place) {
        const auto& clip = subject.dataset.clips[subject.rows[place]];
        places[{clip.audio, clip.channel}].push_back(place);
    }
    std::vector<EventCounts> counts(subject.table.classes);
    double seconds = 0.0;
    for (const auto& channel : subject.dataset.labelled_channels) {
        const auto scored = places.find({channel.audio, channel.channel});
        if (scored == places.end()) continue;
        seconds += channel.seconds;
        const auto events = detect(subject, scored->second, options.window_seconds);
        for (std::size_t c = 0; c < counts.size(); ++c) {
            const auto found = match_events(events[c], calls_of(channel, subject.classes[c]), options);
            counts[c].events += found.events;
            counts[c].right_events += found.right_events;
            counts[c].calls += found.calls;
            counts[c].found_calls += found.found_calls;
        }
    }
    if (seconds == 0.0) return nullptr;

    const double hours = seconds / 3600.0;
    json classes = json::array();
    double sum = 0.0;
    int with_calls = 0;
    for (std::size_t c = 0; c < counts.size(); ++c) {
        const auto& of_class = counts[c];
        classes.push_back({{"code", subject.codes[c]},
                           {"events", of_class.events},
                           {"calls", of_class.calls},
                           {"precision", precision(of_class)},
                           {"recall", recall(of_class)},
                           {"f1", f1(of_class)},
                           {"wrong_events_an_hour", (of_class.events - of_class.right_events) / hours}});
        if (of_class.calls == 0) continue;
        sum += f1(of_class);
        ++with_calls;
    }
    return {{"hours", hours},
            {"classes_with_calls", with_calls},
            {"macro_f1", with_calls == 0 ? 0.0 : sum / with_calls},
            {"classes", std::move(classes)}};
}

}  // namespace chorus
