#pragma once
// From labelled recordings, whatever they were labelled with, to clips.

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "trainer/annotation_files.h"
#include "trainer/audio_file.h"
#include "trainer/dataset.h"
#include "trainer/windows.h"

namespace chorus {

/// Labels as class codes: a label is a code, or the scientific name of one that `species` knows, or else itself with
/// '_' for blanks.
class CodeFinder {
  public:
    explicit CodeFinder(const std::map<std::string, Species>& species);

    /// Throws std::runtime_error where a label can't be a code.
    std::string code_of(const std::string& label) const;

  private:
    std::map<std::string, std::string> codes_;  // by name in lower case
};

/// An annotation that the recording bears out.
struct CheckedCall {
    double start_seconds = 0.0;
    double end_seconds = 0.0;  // not beyond the recording's end
    std::optional<int> channel;
    std::vector<std::string> codes;  // none: nothing calls
};

/// Throws std::runtime_error without a path: it begins beyond the sound, names a channel that isn't there, or a label
/// that is no code.
CheckedCall check_annotation(const Annotation& annotation, const AudioInfo& info, const CodeFinder& codes);

/// A recording and all that was said of it.
struct LabelledRecording {
    std::filesystem::path audio;
    std::string recording;             // what splits go by
    std::filesystem::path label_file;  // for faults
    std::optional<Subset> subset;      // nothing: by a hash of `recording`
    std::vector<Annotation> annotations;
};

struct CutOptions {
    WindowOptions windows;
    bool unlabelled_is_absence = true;  // false: windows of which nothing was said are no clips
    double test_share = 0.2;            // of the recordings that don't say their subset
};

/// Windows of recordings as clips; classes are the codes that occur, sorted, names being those of `species`. Where
/// annotations name channels, these are cut, each with its own and those for all; else the mean of all channels. Where
/// all labels have times, the calls stay as the result's labelled_channels, too. What can't be used moves to the
/// result's left_out, as "LABELS:LINE" or as the recording's path: annotations that the recording doesn't bear out;
/// recordings that can't be read or are too short. Throws std::runtime_error when no clip is left.
Dataset cut_recordings(std::span<const LabelledRecording> recordings, const std::map<std::string, Species>& species,
                       const CutOptions& options, std::vector<LeftOut> left_out);

}  // namespace chorus
