#pragma once
// When animals call, learned from recordings that tell their time.

#include <cstddef>
#include <optional>
#include <span>

#include "model/activity_table.h"
#include "trainer/dataset.h"

namespace chorus {

struct ActivityOptions {
    std::optional<double> longitude_deg;  // of the recorders; hours are mean solar ones with it, else UTC
    double clock_ahead_hours = 0.0;       // of UTC, for recorders whose names don't tell their time zone
};

/// With fewer dated recordings than this, no table is learned.
inline constexpr int kFewestDatedRecordings = 100;

/// Dated recordings among these rows of Dataset::clips.
int count_dated_recordings(const Dataset& dataset, std::span<const std::size_t> rows);

/// Per class c, month and hour k: n[k], the recordings in which c was heard, each counted by the share of its clips
/// that hold c, and N[k], all recordings, are smoothed over neighbouring hours and months by a Gaussian of 1 hour and 1
/// month, round both circles, with peak 1. With r = sum n / sum N, c's share over all,
///   shift[k] = logit((n[k] + a r) / (N[k] + a)) - logit(r),  a = 10 recordings,
/// to two decimals and within kLargestShift. As n is held against N, when recorders ran cancels out; where they hardly
/// ran, a draws the shift to 0. A class that was heard never or always has none. Clips are dated by their recording's
/// name, else their sound's, and their own start; those that can't be are passed over. Empty with too few dated
/// recordings.
std::optional<ActivityTable> learn_activity(const Dataset& dataset, std::span<const std::size_t> rows,
                                            const ActivityOptions& options);

}  // namespace chorus
