#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

namespace chorus {

/// A cut from a source's sound, one channel.
struct Sound {
    std::int64_t first_sample = 0;  // the source's index
    int sample_rate_hz = 0;
    std::vector<std::int16_t> samples;

    std::int64_t end_sample() const { return first_sample + static_cast<std::int64_t>(samples.size()); }
};

/// The last seconds of every channel of one source, by sample index, 2 bytes a sample. Any thread.
class SoundMemory {
  public:
    explicit SoundMemory(std::chrono::milliseconds length) : length_(length) {}

    /// Samples that follow on those before, or begin a new stretch; what is older than the length is forgotten.
    /// samples: -1 to 1, what is beyond is clipped.
    void push(int channel, std::int64_t first_sample, int sample_rate_hz, std::span<const float> samples);

    /// Keeps so much from now on.
    void set_length(std::chrono::milliseconds length);

    /// What is there of [first, end), from the piece without a hole, at one rate, that holds `anchor`; empty if that is
    /// not there.
    Sound cut(int channel, std::int64_t first, std::int64_t anchor, std::int64_t end) const;

  private:
    mutable std::mutex mutex_;  // guards what follows
    std::chrono::milliseconds length_;
    std::vector<std::deque<Sound>> channels_;  // pieces of at most about a second, oldest first
};

}  // namespace chorus
