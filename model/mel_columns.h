#pragma once
// What a clip and a stream share when they compute a window, so that both come to the same bits. Internal to model/.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "model/aligned_floats.h"
#include "model/sound_kernels.h"

namespace chorus {

class FrontEnd;
struct WindowScale;

// Bounds of one window's work, for parameters that come from a file.
constexpr int kMaxFrames = 65536;
constexpr std::size_t kMaxFeatures = std::size_t{1} << 24;
constexpr std::int64_t kMaxTransformed = std::int64_t{1} << 26;  // frames * n_fft

/// Computes frames, a few at a time. A frame's values are the same bits whatever frames come with it.
class FrameBatch {
  public:
    /// The front-end outlives it. One batch at a time on a thread.
    explicit FrameBatch(const FrontEnd& front_end);

    /// Frame `frame` of a clip: n_fft samples centred on frame * hop, reflected at the clip's edges. Its mels values in
    /// dB are in `column` after flush(); until then the clip stays as it is.
    void add(std::span<const float> clip, int frame, float* column);
    void flush();

  private:
    struct Scratch;
    const FrontEnd& front_end_;
    Scratch& scratch_;
    std::array<const float*, kFramesAtOnce> frames_{};
    std::array<float*, kFramesAtOnce> columns_{};
    std::size_t count_ = 0;
};

enum class Scale { kDecibels, kMinMax };

/// One pointer a frame to its mels values in dB -> [mels, frames]. Returns what 0 and 1 of them are.
WindowScale join_columns(std::span<const float* const> columns, std::size_t mels, Scale scale,
                         std::span<float> features);

}  // namespace chorus
