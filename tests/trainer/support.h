#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace chorus {

/// A folder that lives as long as its test.
class TemporaryFolder {
  public:
    TemporaryFolder();
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

/// Parent folders are made.
void write_text(const std::filesystem::path& path, std::string_view text);

/// 16 bit. samples: interleaved.
void write_wav(const std::filesystem::path& path, std::span<const float> samples, int rate_hz, int channels = 1);

/// Clips of 3 s at 22,050 Hz in AnuraSet's layout: LOW a steady tone at 600 Hz, RISE a chirp from 1 to 3 kHz, TRILL a
/// pulsed tone at 5 kHz, alone, together or absent, over noise. Same arguments: same files.
void write_tone_dataset(const std::filesystem::path& folder, int training_clips, int test_clips);

}  // namespace chorus
