#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace chorus {

/// Memory for floats that live as long as the arena, piece after piece in pages of 2 MiB where the system has them:
/// reading a network's weights once a window from small pages takes as long to find the pages as to read them.
class FloatArena {
  public:
    FloatArena() = default;
    FloatArena(FloatArena&&) noexcept = default;
    FloatArena& operator=(FloatArena&&) noexcept = default;

    /// Zeros, that begin with a cache line.
    std::span<float> take(std::size_t count);

  private:
    struct Free {
        void operator()(float* memory) const;
    };
    std::vector<std::unique_ptr<float[], Free>> chunks_;
    std::span<float> left_;  // of the last chunk
};

}  // namespace chorus
