#pragma once
// A candidate held against the model that serves, on recordings that neither was trained on.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/bundle.h"
#include "trainer/gates.h"
#include "trainer/layouts.h"
#include "trainer/progress.h"

namespace chorus {

struct JudgingOptions {
    std::filesystem::path dataset;
    DataOptions data = {};
    std::filesystem::path noise = {};  // folder of recordings in which nothing calls; empty: those of the test subset
                                       // whose labels say so
    std::filesystem::path earlier_labels = {};  // as labels.csv was at the last decision; there may be no such file
    GateOptions gates = {};
    int threads = 1;
};

struct Judgement {
    Comparison comparison;
    std::vector<std::string> codes;         // of the classes below
    std::vector<std::uint32_t> recordings;  // [rows], which one each clip is of
    GatedModel current;                     // on the test subset, over the classes that the data set has labels for
    GatedModel candidate;
};

/// By the classifier that serves. The candidate was trained from `current`: same front-end, its classes first. Throws
/// std::runtime_error with one line.
Judgement judge(const Bundle& current, const Bundle& candidate, const JudgingOptions& options, Progress& progress);

}  // namespace chorus
