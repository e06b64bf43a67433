#pragma once
// What a network makes of clips before its head: all that a head learns from where the rest is frozen.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "model/bundle.h"
#include "trainer/feature_store.h"
#include "trainer/progress.h"

namespace chorus {

/// Row i belongs to row i of a FeatureStore.
struct Embeddings {
    std::size_t size = 0;       // 960 (large), 576 (small)
    std::vector<float> values;  // [rows, size]

    std::size_t rows() const { return size == 0 ? 0 : values.size() / size; }
    std::span<const float> row(std::size_t row) const { return std::span(values).subspan(row * size, size); }
    std::span<float> row(std::size_t row) { return std::span(values).subspan(row * size, size); }
};

/// Of the rows given, as in service; other rows are 0. `cache` (empty: none) keeps them by a
/// hash of the clip's features, so that whatever becomes of files and labels only new sound is computed; it is written
/// anew with these rows and no others. One that is broken or of another network is as none. Throws std::runtime_error
/// where it can't be written, and Interrupted when must_stop, which is asked now and then, is true.
Embeddings embed_clips(const Bundle& bundle, const FeatureStore& features, std::span<const std::size_t> rows,
                       int threads, const std::filesystem::path& cache, Progress& progress,
                       const std::function<bool()>& must_stop = {});

/// What the bundle's head makes of each row of its network's embeddings, [rows, classes].
std::vector<float> score_embeddings(const Bundle& bundle, const Embeddings& embeddings);

}  // namespace chorus
