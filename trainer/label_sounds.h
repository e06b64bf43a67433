#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "trainer/audio_index.h"
#include "trainer/label_files.h"
#include "trainer/label_history.h"
#include "trainer/labelled_recordings.h"

namespace chorus {

/// What a label file says of one recording.
struct Told {
    std::string recording;  // what splits go by; empty where the file doesn't say it
    std::set<Subset> subsets;
    std::vector<LabelledSpan> labels;
};

/// What a label file says, held against the sound.
struct Heard {
    std::map<std::filesystem::path, Told> told;  // by sound
    std::vector<std::string> missing;            // no such sound; each a line
    std::vector<std::string> unsettled;          // sound that was changed a moment ago; each a line
};

/// Finds the sound that labels are about: beside them, else in the inbox, in the clips, in the data set.
class LabelSounds {
  public:
    /// Folders that aren't there hold nothing. Sound of the inbox that was changed within `settling` is being copied.
    LabelSounds(std::filesystem::path inbox, const std::filesystem::path& clips, const std::filesystem::path& audio,
                CodeFinder codes, std::chrono::seconds settling);

    /// What the label file at `path`, in the inbox, says. Throws BadLabelFile with all that the sound doesn't bear out.
    Heard hear(const std::filesystem::path& path, const LabelFile& labels) const;

    const std::vector<std::filesystem::path>& in_inbox() const { return indexes_.front().files(); }

  private:
    /// Null where there is none.
    const std::filesystem::path* find(const std::filesystem::path& path, LabelFormat format,
                                      const std::string& name) const;
    bool is_settled(const std::filesystem::path& sound) const;

    std::filesystem::path inbox_;
    std::vector<AudioIndex> indexes_;  // the inbox first
    CodeFinder codes_;
    std::chrono::seconds settling_;
};

/// Whether it was written to within `settling`; not, when its time lies ahead of the clock.
bool is_being_written(const std::filesystem::path& path, std::chrono::seconds settling);

/// Whether it is UTF-8 without control characters.
bool is_plain_text(const std::string& text);

}  // namespace chorus
