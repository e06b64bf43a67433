#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace chorus::testing_tools {

struct Wav {
    int channels = 1;
    int sample_rate_hz = 48'000;
    int bits = 16;  // of integers, or 32 with is_float
    bool is_float = false;
    std::optional<std::uint32_t> channel_mask;  // written as WAVE_FORMAT_EXTENSIBLE where there is one
    std::vector<std::uint8_t> data;
};

/// Frames of pseudo-random samples that differ in every channel; the full range of the integers, floats within -1..1.
Wav noise(int channels, std::int64_t frames, int bits = 16);

void write_wav(const std::filesystem::path& path, const Wav& wav);

/// As libsndfile reads it: [frame, channel].
std::vector<float> read_with_libsndfile(const std::filesystem::path& path);

}  // namespace chorus::testing_tools
