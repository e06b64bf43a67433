#pragma once

#include <filesystem>
#include <functional>

#include "model/front_end.h"
#include "trainer/dataset.h"
#include "trainer/feature_store.h"

namespace chorus {

struct FeatureOptions {
    int threads = 1;
    std::filesystem::path cache = {};      // folder of a cache (feature_cache.h); empty: none
    std::function<bool()> must_stop = {};  // asked now and then; when true, Interrupted is thrown
};

using OnFeatureProgress = std::function<void(std::size_t done, std::size_t of)>;

/// Row i belongs to dataset.clips[i]. Clips whose sound can't be read, is silent, or is shorter or longer than the
/// window move to dataset.left_out. Windows of a recording that follow one another are read and resampled in one go;
/// with a cache these are looked up by the SHA-256 of the file and by what is cut from it, and the features are the
/// same bits as without. `on_progress` and `options.must_stop` are called by the calling thread alone. Throws
/// std::runtime_error when no clip is left, or where the cache fails.
FeatureStore compute_features(const FrontEnd& front_end, Dataset& dataset, const FeatureOptions& options,
                              const OnFeatureProgress& on_progress = {});

}  // namespace chorus
