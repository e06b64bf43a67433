#pragma once
// From a folder of labelled clips to a model bundle with thresholds and figures.

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/bundle.h"
#include "trainer/activity.h"
#include "trainer/progress.h"
#include "trainer/training.h"

namespace chorus {

struct FitOptions {
    std::filesystem::path dataset;
    std::filesystem::path out;
    FrontEndParameters front_end;
    TrainingOptions training;
    ActivityOptions activity;
    double checkpoint_seconds = 300.0;  // between checkpoints, written to `out` with ".checkpoint" after it
    bool resume = false;                // go on from that checkpoint, if there is one
    std::function<bool()> must_stop;    // asked now and then; when true, a checkpoint is written and Interrupted thrown
};

/// Trains on the training recordings but for the held-out ones (splits.h), learns from their dates when each class
/// calls, chooses epoch and thresholds on the held-out ones, and
/// only then scores the test subset, once, with the very bundle that is written. Returns the report. Progress and what
/// was left out go to stderr. Throws std::exception with a nested cause.
nlohmann::json fit(const FitOptions& options, Progress& progress);

struct EvaluateOptions {
    std::filesystem::path model;
    std::filesystem::path dataset;
    Subset subset = Subset::kTest;
    int threads = 1;
};

/// Scores a dataset's clips of one subset with a bundle. Classes are matched by code: the dataset's columns that the
/// bundle doesn't know are listed in the report, the bundle's labels that have no column count as absent.
nlohmann::json evaluate(const EvaluateOptions& options, Progress& progress);

}  // namespace chorus
