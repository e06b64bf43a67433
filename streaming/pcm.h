#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace chorus {

enum class PcmFormat { kS16, kS24, kS32, kF32 };  // little-endian, as appsink hands them over

constexpr std::size_t bytes_per_sample(PcmFormat format) {
    return format == PcmFormat::kS16 ? 2 : format == PcmFormat::kS24 ? 3 : 4;
}

/// Turns bytes cut anywhere into whole frames of floats; a partial frame waits for its other half. Integers are divided
/// by their full scale, a power of two, so that 16 and 24 bits stay exact.
class PcmReader {
  public:
    PcmReader(PcmFormat format, int channels);

    /// Appends the whole frames that `bytes` completes to `samples` [frame, channel].
    void read(std::span<const std::uint8_t> bytes, std::vector<float>& samples);

    /// Forgets a partial frame: what follows does not continue it.
    void restart() { partial_.clear(); }

    PcmFormat format() const { return format_; }
    std::size_t frame_bytes() const { return frame_bytes_; }

  private:
    PcmFormat format_;
    std::size_t frame_bytes_;
    std::vector<std::uint8_t> partial_;
};

}  // namespace chorus
