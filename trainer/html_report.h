#pragma once
// A run for people: one HTML file that needs nothing but itself, and the same numbers as JSON.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "trainer/evaluation.h"

namespace chorus {

/// A clip that the model got wrong.
struct ShownMistake {
    std::string item;  // file, and where in it
    std::string code;
    float score = 0.0F;
    float threshold = 0.0F;
    bool is_present = false;      // and was missed; else it was found where it is not
    std::vector<float> features;  // [mels, frames] in 0..1
    int mels = 0;
    int frames = 0;
};

/// What the page is about.
struct ReportPage {
    std::string title;
    const nlohmann::json& report;      // what the verb prints
    const nlohmann::json& evaluation;  // the part of it that is shown in full: evaluation_report()
    const nlohmann::json& curves;      // curves_report() of the same clips
    std::vector<ShownMistake> mistakes = {};
    std::string introduction = {};  // markup, before all figures
};

std::string html_report(const ReportPage& page);

/// Writes the page to `path` and, with ".json" for its ending, the report with curves and mistakes as JSON; each beside
/// its place and renamed over it. Throws std::runtime_error with one line that begins with the path.
void write_report(const std::filesystem::path& path, const ReportPage& page);

}  // namespace chorus
