#include "model/detector.h"

#include <algorithm>
#include <cassert>

namespace chorus {

Detector::Detector(DetectorSettings settings) : settings_(std::move(settings)), runs_(settings_.thresholds.size()) {
    assert(settings_.min_windows.size() == runs_.size());
}

void Detector::add(std::int64_t start_sample, std::int64_t end_sample, std::span<const float> scores,
                   std::vector<Detection>& out) {
    assert(scores.size() == runs_.size());
    for (std::size_t label = 0; label < runs_.size(); ++label) {
        Run& run = runs_[label];
        const float threshold = settings_.thresholds[label];
        const float score = scores[label];
        if (run.active && start_sample - run.end > settings_.merge_gap_samples) end_run(label, out);

        const double needed = run.active ? threshold * settings_.hysteresis : threshold;
        if (!(static_cast<double>(score) >= needed)) continue;
        if (!run.active) run = Run{.active = true, .start = start_sample};
        run.end = std::max(run.end, end_sample);
        run.peak = std::max(run.peak, score);
        run.sum += score;
        ++run.hits;

        if (!run.open && run.hits >= settings_.min_windows[label]) {
            run.open = true;
            say(label, EventPhase::kOpen, out);
        } else if (run.open && run.end - run.said_end >= settings_.update_samples) {
            say(label, EventPhase::kUpdate, out);
        }
    }
}

void Detector::finish(std::vector<Detection>& out) {
    for (std::size_t label = 0; label < runs_.size(); ++label) {
        if (runs_[label].active) end_run(label, out);
    }
}

void Detector::end_run(std::size_t label, std::vector<Detection>& out) {
    if (runs_[label].open) {
        say(label, EventPhase::kClose, out);
    } else {
        ++rejected_;
    }
    runs_[label] = Run{};
}

void Detector::say(std::size_t label, EventPhase phase, std::vector<Detection>& out) {
    Run& run = runs_[label];
    run.said_end = run.end;
    out.push_back({.label = label,
                   .phase = phase,
                   .start_sample = run.start,
                   .end_sample = run.end,
                   .peak_score = run.peak,
                   .mean_score = run.sum / run.hits,
                   .windows = run.hits,
                   .threshold = settings_.thresholds[label]});
}

}  // namespace chorus
