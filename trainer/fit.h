#pragma once
// From a folder of labelled clips to a model bundle with thresholds and figures.

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/bundle.h"
#include "trainer/activity.h"
#include "trainer/class_groups.h"
#include "trainer/layouts.h"
#include "trainer/progress.h"
#include "trainer/thresholds.h"
#include "trainer/training.h"

namespace chorus {

struct FitOptions {
    std::filesystem::path dataset;
    std::filesystem::path out;
    std::filesystem::path init;        // bundle to begin with; empty: by chance
    std::filesystem::path background;  // folder of noise that is mixed into training clips; empty: none
    std::filesystem::path report;      // page to write (html_report.h), with its numbers beside it; empty: none
    DataOptions data;
    FrontEndParameters front_end;
    TrainingOptions training;
    ActivityOptions activity;
    ThresholdOptions thresholds;
    GroupOptions groups;
    int resamples = 1000;                 // of the recordings, for intervals; 0: none
    double checkpoint_seconds = 300.0;    // between checkpoints, written to `out` with ".checkpoint" after it
    Resume resume = Resume::kNever;       // from that checkpoint
    std::filesystem::path embeddings;     // file that keeps them (embeddings.h), where they are frozen; empty: none
    std::function<bool()> must_stop;      // asked now and then; when true, Interrupted is thrown, after a checkpoint
    double peer_timeout_seconds = 300.0;  // without a sign of another process that trains along
};

/// Trains on the training recordings but for the held-out ones (splits.h), learns from their dates when each class
/// calls, chooses epoch and thresholds on the held-out ones, and only then scores the test subset, once, with the very
/// bundle that is written. With `init` that bundle's architecture and front-end are taken, and its classes, with those
/// after them that only the dataset has (growth.h); figures are of the classes that the dataset has labels for. Returns
/// the report. Of several processes (train()) all read the data set and train, and the leader does all else; the others
/// return null. Progress and what was left out go to stderr. Throws std::exception with a nested cause.
nlohmann::json fit(const FitOptions& options, Progress& progress, const ProcessGroup& processes = ProcessGroup());

}  // namespace chorus
