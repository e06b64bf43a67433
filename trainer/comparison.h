#pragma once
// One table out of many trainings.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace chorus {

/// A training that has ended, and what an evaluation of it found (report.h).
struct ComparedRun {
    std::string method;
    std::uint64_t seed = 0;
    const nlohmann::json& evaluation;
};

/// Methods in the order in which they first come: of each figure the mean over seeds, the standard deviation ("spread")
/// and, against the first method ("p_against"), the probability "p" of a paired t-test over the seeds that both have;
/// null where it can't be told. Figures: macro F1 at 0.5 and at calibrated thresholds and mean average precision, all
/// over the classes with positives, and macro F1 at 0.5 of each group.
nlohmann::json comparison_table(std::span<const ComparedRun> runs);

/// The same as a Markdown table.
std::string to_markdown(const nlohmann::json& table);

}  // namespace chorus
