#pragma once
// The learning loop's turn: new labels in, a candidate trained from the current model, judged, and promoted or refused.
//
// Of a station's folder it reads dataset/ and works in models/ (model_folder.h) and models/retraining/: the labels that
// the last decision knew of, the embeddings of a frozen network, and what is unfinished. `current` changes by one
// rename, last of all; ended anywhere before, the next run resumes the training or begins anew.

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "trainer/fit.h"
#include "trainer/gates.h"

namespace chorus {

enum class RetrainScope {
    kHead,  // the head alone, on kept embeddings: Freeze::kEmbeddings
    kFull,  // the whole network, from the current weights on
};

std::string to_string(RetrainScope scope);  // "head", "full"

struct RetrainOptions {
    std::filesystem::path station = "/var/lib/chorus";
    RetrainScope scope = RetrainScope::kHead;
    int min_new_labels = 20;  // lines of dataset/labels.csv that the last decision didn't know
    GateOptions gates;
    std::filesystem::path noise;    // see JudgingOptions
    double shadow_hours = 0.0;      // how long what passed runs in the current model's shadow first
    int keep_models = 5;            // the newest, beside the current one and its parent
    std::filesystem::path metrics;  // see trainer_metrics.h; empty: none
    std::function<void()> on_step;  // called after each step that reaches the disk
};

/// Promotes what has been in the current model's shadow for long enough, then trains and judges, where labels ask for
/// it. `fitting` says how to train, but for data set, paths, layout and what is frozen. Returns what was decided last:
/// the line of the history, or the outcome "nothing_new". What was decided goes to stderr, too. Throws Interrupted, and
/// std::exception with a nested cause where another run holds the lock or anything fails.
nlohmann::json retrain(const RetrainOptions& options, const FitOptions& fitting, Progress& progress);

/// See ModelFolder::roll_back().
nlohmann::json roll_back(const RetrainOptions& options);

}  // namespace chorus
