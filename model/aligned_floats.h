#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace chorus {

/// Floats that begin with a cache line, zero at first.
class AlignedFloats {
  public:
    AlignedFloats() = default;
    explicit AlignedFloats(std::size_t count) : memory_(new (kAlignment) float[count]()), count_(count) {}

    float* data() const { return memory_.get(); }
    std::size_t size() const { return count_; }
    float& operator[](std::size_t at) const { return memory_[at]; }

  private:
    static constexpr std::align_val_t kAlignment{64};
    struct Delete {
        void operator()(float* memory) const { ::operator delete[](memory, kAlignment); }
    };

    std::unique_ptr<float[], Delete> memory_;
    std::size_t count_ = 0;
};

}  // namespace chorus
