#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "trainer/dataset.h"
#include "trainer/evaluation.h"
#include "trainer/feature_store.h"

namespace chorus {

/// Clips that a bundle was judged on.
struct JudgedClips {
    std::string part;  // of the report, where its figures are: "test"
    ScoreTable table;
    std::span<const std::size_t> rows;  // of the dataset, as the table's
    std::vector<std::string> codes;     // [classes]
    std::vector<float> thresholds;      // [classes]
};

/// The page of html_report.h, and its numbers beside it. report: what the verb prints.
void write_run_report(const std::filesystem::path& path, const std::string& title, const nlohmann::json& report,
                      const JudgedClips& judged, const Dataset& dataset, const FeatureStore& features);

}  // namespace chorus
