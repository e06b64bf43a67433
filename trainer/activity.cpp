#include "trainer/activity.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "streaming/recorder_time.h"

namespace chorus {
namespace {

constexpr std::size_t kCells = ActivityTable::kCells;
constexpr int kHours = static_cast<int>(ActivityTable::kHours);
constexpr int kMonths = static_cast<int>(ActivityTable::kMonths);
constexpr double kHoursWidth = 1.0;
constexpr double kMonthsWidth = 1.0;
constexpr double kPriorRecordings = 10.0;

using Counts = std::array<double, kCells>;

std::chrono::microseconds to_duration(double seconds) {
    return std::chrono::microseconds(std::llround(seconds * 1e6));
}

/// A recording that stands for a whole day leaves the time to its sound's name.
std::optional<RecorderTime> recorder_time_of(const Clip& clip) {
    const auto time = time_in_name(clip.recording);
    return time ? time : time_in_name(clip.audio.stem().string());
}

std::optional<UtcTime> time_of(const Clip& clip, double clock_ahead_hours) {
    const auto recorder = recorder_time_of(clip);
    if (!recorder) return std::nullopt;
    const auto start = recorder->utc_offset ? recorder->utc() : recorder->utc() - to_duration(clock_ahead_hours * 3600);
    return start + to_duration(clip.start_seconds);
}

double on_circle(int distance, int round) {
    const int apart = std::abs(distance);
    return std::min(apart, round - apart);
}

Counts smooth(const Counts& counts) {
    Counts smoothed{};
    for (std::size_t to = 0; to < kCells; ++to) {
        for (std::size_t from = 0; from < kCells; ++from) {
            if (counts[from] == 0.0) continue;
            const int month = static_cast<int>(from) / kHours - static_cast<int>(to) / kHours;
            const int hour = static_cast<int>(from) % kHours - static_cast<int>(to) % kHours;
            const double months = on_circle(month, kMonths) / kMonthsWidth;
            const double hours = on_circle(hour, kHours) / kHoursWidth;
            smoothed[to] += counts[from] * std::exp(-0.5 * (months * months + hours * hours));
        }
    }
    return smoothed;
}

double logit(double p) {
    return std::log(p / (1.0 - p));
}

double total(const Counts& counts) {
    double sum = 0;
    for (const double count : counts) sum += count;
    return sum;
}

}  // namespace

int count_dated_recordings(const Dataset& dataset, std::span<const std::size_t> rows) {
    std::set<std::string> recordings;
    for (const auto row : rows) {
        const auto& clip = dataset.clips[row];
        if (recorder_time_of(clip)) recordings.insert(clip.recording);
    }
    return static_cast<int>(recordings.size());
}

std::optional<ActivityTable> learn_activity(const Dataset& dataset, std::span<const std::size_t> rows,
                                            const ActivityOptions& options) {
    const int dated = count_dated_recordings(dataset, rows);
    if (dated < kFewestDatedRecordings) return std::nullopt;

    // Clips of one recording are much alike: those in one cell count as one, by their mean.
    struct Heard {
        double clips = 0;
        std::vector<double> positives;  // [class]
    };
    std::map<std::pair<std::string, std::size_t>, Heard> recordings;
    for (const auto row : rows) {
        const auto& clip = dataset.clips[row];
        const auto time = time_of(clip, options.clock_ahead_hours);
        if (!time) continue;
        auto& heard = recordings[{clip.recording, activity_cell(*time, options.longitude_deg)}];
        heard.positives.resize(dataset.classes.size());
        ++heard.clips;
        for (std::size_t c = 0; c < clip.targets.size(); ++c) heard.positives[c] += clip.targets[c];
    }

    Counts all{};
    for (const auto& [key, heard] : recordings) all[key.second] += 1.0;
    const Counts all_smoothed = smooth(all);
    ActivityTable table{.solar = options.longitude_deg.has_value(), .recordings = dated, .shifts = {}};
    table.shifts.resize(dataset.classes.size() * kCells);
    for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
        Counts positives{};
        for (const auto& [key, heard] : recordings) positives[key.second] += heard.positives[c] / heard.clips;
        const double share = total(positives) / total(all);
        if (share <= 0.0 || share >= 1.0) continue;
        const Counts smoothed = smooth(positives);
        for (std::size_t k = 0; k < kCells; ++k) {
            const double here = (smoothed[k] + kPriorRecordings * share) / (all_smoothed[k] + kPriorRecordings);
            const double shift =
                std::clamp(logit(here) - logit(share), -ActivityTable::kLargestShift, ActivityTable::kLargestShift);
            table.shifts[c * kCells + k] = static_cast<float>(std::round(shift * 100) / 100);
        }
    }
    return table;
}

}  // namespace chorus
