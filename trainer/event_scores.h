#pragma once
// How good a model's events are, where calls were labelled with their times: scores of a recording's windows go through
// chorusd's detector with its own defaults, and what it reports is held against the calls.
//
// An event is as long as the windows that hit, so it begins before its call and ends after it: a window hits that holds
// `overlap_seconds` of a call, or all of a shorter one. So an event is right if half of it, at least, lies where such
// windows of its class's calls lie; and a call is found if an event of its class holds so much of it. Several calls may
// be in one event, and one call may be found by several (as arXiv 1910.08440 has it). Scores without any fault at all
// give precision and recall 1.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "trainer/dataset.h"
#include "trainer/evaluation.h"

namespace chorus {

struct TimeSpan {
    double start_seconds = 0.0;
    double end_seconds = 0.0;
};

struct EventCounts {
    int events = 0;
    int right_events = 0;
    int calls = 0;
    int found_calls = 0;
};

/// Of one class on one channel of a recording; both in order of their start. options: its hop doesn't matter.
EventCounts match_events(std::span<const TimeSpan> events, std::span<const TimeSpan> calls,
                         const WindowOptions& options);

/// 0/0 is 0.
double precision(const EventCounts& counts);
double recall(const EventCounts& counts);
double f1(const EventCounts& counts);

/// What an evaluation by events is of: `rows` of the dataset and their scores. classes: which of the dataset's each of
/// the table's is.
struct EventSubject {
    const Dataset& dataset;
    std::span<const std::size_t> rows;
    const ScoreTable& table;
    std::span<const std::size_t> classes;
    std::span<const std::string> codes;
    std::span<const float> thresholds;
};

/// Hours of sound, macro F1 over the classes with calls, and of each class events, calls, precision, recall, F1 and
/// wrong events an hour; null where no channel's calls have times.
nlohmann::json event_report(const EventSubject& subject, const WindowOptions& options);

}  // namespace chorus
