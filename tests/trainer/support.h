#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "tests/temporary_folder.h"

namespace chorus {

/// Parent folders are made.
void write_text(const std::filesystem::path& path, std::string_view text);

/// 16 bit. samples: interleaved.
void write_wav(const std::filesystem::path& path, std::span<const float> samples, int rate_hz, int channels = 1);

/// Clips of 3 s at 22,050 Hz in AnuraSet's layout: LOW a steady tone at 600 Hz, RISE a chirp from 1 to 3 kHz, TRILL a
/// pulsed tone at 5 kHz, alone, together or absent, over noise. Same arguments: same files.
void write_tone_dataset(const std::filesystem::path& folder, int training_clips, int test_clips);

}  // namespace chorus
