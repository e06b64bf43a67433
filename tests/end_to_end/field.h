#pragma once
// A made-up field: animals whose calls are tones and chirps, a data set of them, recordings with calls at known times.

#include <filesystem>
#include <string>
#include <vector>

namespace chorus {

struct Call {
    int channel = 0;
    double start_s = 0;
    double end_s = 0;
    std::string code;
};

/// A data set in AnuraSet's layout: 3 classes (RISER, STEADY, TRILLER), 3 s clips, 0 to 2 of them over noise.
void write_dataset(const std::filesystem::path& folder, int train, int test);

/// A multichannel 16-bit WAV of noise and calls.
void write_recording(const std::filesystem::path& file, int channels, int sample_rate_hz, double seconds,
                     const std::vector<Call>& calls);

}  // namespace chorus
