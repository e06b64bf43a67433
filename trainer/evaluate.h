#pragma once
// What a bundle is worth on labelled clips.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "model/classifier.h"
#include "trainer/dataset.h"
#include "trainer/layouts.h"
#include "trainer/progress.h"

namespace chorus {

struct EvaluateOptions {
    std::filesystem::path model;
    std::filesystem::path dataset;
    std::filesystem::path report = {};  // page to write (html_report.h), with its numbers beside it; empty: none
    DataOptions data = {};
    std::optional<Subset> subset = Subset::kTest;  // nothing: all clips
    int resamples = 1000;                          // of the recordings, for intervals; 0: none
    int threads = 1;
    Precision precision = Precision::kFloat32;  // of the network
};

/// Scores a dataset's clips with a bundle. Classes are matched by code; those that only one of the two knows are listed
/// in the report and in no figure. Throws std::runtime_error with one line.
nlohmann::json evaluate(const EvaluateOptions& options, Progress& progress);

}  // namespace chorus
