#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace chorus {

/// Which part of a recording to read.
struct AudioSpan {
    double start_seconds = 0.0;
    std::optional<double> seconds;  // nothing: to the end
    std::optional<int> channel;     // from 0; nothing: the mean of all channels
};

struct AudioInfo {
    double seconds = 0.0;
    int channels = 0;
};

/// What a recording's header says. Throws as read_audio() does.
AudioInfo read_audio_info(const std::filesystem::path& path);

/// The library that decodes, with its version.
std::string decoder_version();

/// What one call may bring into memory.
inline constexpr double kMaxAudioSeconds = 3600.0;

/// Mono sound in -1..1 at `rate_hz`, of any format libsndfile knows; resampled as serving does (model/resampler.h).
/// A span that runs beyond the end gives what there is. Throws std::runtime_error with one line that begins with the
/// path: unreadable, cut short, rate or channel out of bounds, longer than kMaxAudioSeconds, or samples that are not
/// finite.
std::vector<float> read_audio(const std::filesystem::path& path, int rate_hz, const AudioSpan& span = {});

}  // namespace chorus
