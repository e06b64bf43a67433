#pragma once
// Features of recordings on disk, so that the next training neither decodes nor transforms what this one did. In a
// folder that any number of processes may share and anybody may empty, there are segments, whole from the moment they
// have their name and never changed:
//   FRONT_END-CONTENT.features := rows index trailer
//   rows    := IEEE halves [rows, mels, frames] as the machine has them
//   index   := JSON { KEY: { "row": first, "left_out": [why a window has no row, or ""],
//                            "scales": [lowest_db, highest_db, of each row], "sha256": of its rows }, ... }
//   trailer := "FRONT_END LENGTH SHA256 features-1\n", of the index its length in 20 digits and its hash
// FRONT_END is a hash of the front-end's parameters, of what comes out of it and the resampler on this machine, and of
// the decoder's version: features of another machine or version are only used if they are the same bits.

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "model/front_end.h"
#include "trainer/feature_store.h"

namespace chorus {

class MappedFile;

/// All methods may be called by any thread.
class FeatureCache {
  public:
    /// Makes the folder if there is none. Segments that are torn or no segments at all are passed over. Throws
    /// std::runtime_error with one line that begins with a path, as all methods do where the disk fails.
    FeatureCache(std::filesystem::path folder, const FrontEnd& front_end);
    ~FeatureCache();

    /// What was added under this key, by whatever process: rows as they were, mapped from the segment, which stays as
    /// long as they do. Nothing if it isn't there, or is there no more: then its segment is deleted.
    std::optional<RunFeatures> find(const std::string& key);

    /// To be found after finish(), or sooner. key: 64 hex digits.
    void add(const std::string& key, const RunFeatures& run);

    /// What was added is on disk. Without it what no full segment holds is lost.
    void finish();

  private:
    struct Entry;
    struct Segment;
    void add_segment(const std::filesystem::path& path, std::shared_ptr<const MappedFile> segment);
    void finish_segment();  // mutex_ is held

    const std::filesystem::path folder_;
    const std::size_t row_bytes_;
    const std::string front_end_;  // 16 hex digits
    std::mutex mutex_;
    std::map<std::string, Entry> entries_;  // by key
    std::unique_ptr<Segment> unfinished_;
};

}  // namespace chorus
