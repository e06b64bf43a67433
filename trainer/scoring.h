#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/classifier.h"
#include "trainer/compute_features.h"
#include "trainer/dataset.h"
#include "trainer/evaluation.h"
#include "trainer/feature_store.h"
#include "trainer/progress.h"

namespace chorus {

/// Scores of rows of a store by the classifier that serves.
ScoreTable score_clips(Classifier& classifier, const FeatureStore& features, const Dataset& dataset,
                       std::span<const std::size_t> rows);

/// Which recording each of these rows is of, numbered from 0.
std::vector<std::uint32_t> recordings_of(const Dataset& dataset, std::span<const std::size_t> rows);

/// compute_features() with its progress shown, and after it what had to be left out.
FeatureStore load_features(const FrontEnd& front_end, Dataset& dataset, const FeatureOptions& options,
                           Progress& progress);

/// The first few with their reasons, the rest as a number.
void say_what_was_left_out(std::span<const LeftOut> left_out, Progress& progress);

}  // namespace chorus
