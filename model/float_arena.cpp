#include "model/float_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace chorus {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = std::size_t{2} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t multiple) {
    return (bytes + multiple - 1) / multiple * multiple;
}

}  // namespace

void FloatArena::Free::operator()(float* memory) const {
    std::free(memory);
}

std::span<float> FloatArena::take(std::size_t count) {
    const auto wanted = rounded_up(count * sizeof(float), kLine) / sizeof(float);
    if (left_.size() < wanted) {
        const auto bytes = rounded_up(wanted * sizeof(float), kPage);
        chunks_.emplace_back(static_cast<float*>(std::aligned_alloc(kPage, bytes)));
        if (!chunks_.back()) throw std::bad_alloc();
        madvise(chunks_.back().get(), bytes, MADV_HUGEPAGE);  // a wish: small pages work as well
        std::memset(chunks_.back().get(), 0, bytes);
        left_ = {chunks_.back().get(), bytes / sizeof(float)};
    }
    const auto piece = left_.first(count);
    left_ = left_.subspan(wanted);
    return piece;
}

}  // namespace chorus
