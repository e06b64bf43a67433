#pragma once
// What a clip and a stream share when they compute a window, so that both come to the same bits. Internal to model/.

#include <cstddef>
#include <cstdint>
#include <span>

namespace chorus {

class FrontEnd;

// Bounds of one window's work, for parameters that come from a file.
constexpr int kMaxFrames = 65536;
constexpr std::size_t kMaxFeatures = std::size_t{1} << 24;
constexpr std::int64_t kMaxTransformed = std::int64_t{1} << 26;  // frames * n_fft

/// Frame `frame` of a clip: n_fft samples centred on frame * hop, reflected at the clip's edges.
void frame_of_clip(const FrontEnd& front_end, std::span<const float> clip, int frame, std::span<float> mel_db);

/// One pointer a frame to its mels values -> [mels, frames].
void transpose_columns(std::span<const float* const> columns, std::size_t mels, std::span<float> features);

}  // namespace chorus
