#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "trainer/judging.h"

namespace chorus {

/// The page of a decision for people: what was decided and why, each class's F1 before and after, both models'
/// precision over recall, and the candidate's own page (html_report.h) below; its numbers beside it. line: the
/// history's; fitted: what fit() returned, with a test subset. Throws std::runtime_error with one line.
void write_promotion_report(const std::filesystem::path& path, const nlohmann::json& line, const Judgement& judgement,
                            const nlohmann::json& fitted);

}  // namespace chorus
