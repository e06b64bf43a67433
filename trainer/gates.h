#pragma once
// Whether a candidate may take the current model's place. Pure: no network, no files, no clock.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/bootstrap.h"
#include "trainer/evaluation.h"

namespace chorus {

struct GateOptions {
    int min_positives = 10;    // held-out clips that hold a class, for it to be judged by itself
    double margin = 0.05;      // of F1: a fall that is put up with
    double certainty = 0.9;    // a larger fall in more than this share of the resamples is one
    double noise_limit = 2.0;  // false events an hour that are put up with
    double noise_rise = 1.25;  // and so many times the current model's, where those are more

    bool operator==(const GateOptions&) const = default;
};

/// What one of the two models said of the held-out clips, over the classes of both.
struct GatedModel {
    ScoreTable table;
    std::vector<float> thresholds;  // [classes]
};

/// Of some classes alone.
GatedModel keep_classes(const GatedModel& model, std::span<const std::size_t> classes);

struct ClassComparison {
    std::string code;
    int positives = 0;    // held-out clips that hold it
    bool is_new = false;  // the current model doesn't know it and finds nothing
    double current_f1 = 0.0;
    double candidate_f1 = 0.0;
    std::optional<Interval> difference = {};  // candidate less current, of 95 % of the resamples
    double fall_share = 0.0;                  // of the resamples, those in which it falls by more than the margin
};

/// Events of the detector's rule in sound in which nothing calls.
struct NoiseComparison {
    double hours = 0.0;
    int current_events = 0;
    int candidate_events = 0;
};

/// Over the classes with positives.
struct MacroComparison {
    double current_f1 = 0.0;
    double candidate_f1 = 0.0;
    std::optional<Interval> difference = {};  // as a class's
    double fall_share = 0.0;
};

/// By the labels that the last decision knew, of the held-out clips that it knew: labels that came since can't have
/// turned these with what the candidate learned.
struct EarlierComparison {
    MacroComparison macro;
    std::vector<ClassComparison> classes;
};

struct Comparison {
    std::vector<ClassComparison> classes;
    MacroComparison macro = {};
    std::optional<MacroComparison> known_classes = {};  // over these alone, where others are new
    std::optional<EarlierComparison> earlier = {};      // where those labels are enough
    std::vector<std::string> not_judged = {};           // known classes that no held-out clip holds
    NoiseComparison noise = {};
};

/// By a paired bootstrap over recordings (bootstrap.h). codes: [classes]; of these the first `known` are the current
/// model's; recordings: [rows].
Comparison compare_models(const GatedModel& current, const GatedModel& candidate, std::span<const std::string> codes,
                          std::size_t known, std::span<const std::uint32_t> recordings, const GateOptions& options);

struct GateDecision {
    bool promote = false;
    std::vector<std::string> reasons;  // all gates it did not pass; or what it brings
};

/// Promoted is a candidate that passes all of these:
///   - held-out clips hold at least one class;
///   - macro F1 rises; where it finds a new class that held-out clips hold it may fall, but not as below;
///   - macro F1 over the known classes alone doesn't fall as below, nor by more than `margin` on all clips;
///   - no known class with min_positives falls: F1 by more than `margin` in more than `certainty` of the resamples;
///   - neither these nor macro F1 fall so by the labels of the last decision;
///   - its events in noise are no more than noise_limit an hour (rounded up to a whole event) or noise_rise times the
///     current model's, whichever is more.
GateDecision decide(const Comparison& comparison, const GateOptions& options);

/// All numbers, for the history and the report.
nlohmann::json describe(const Comparison& comparison);

}  // namespace chorus
