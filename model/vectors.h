#pragma once
// kLanes floats at a time, for the files that are compiled once for each instruction set: 16 where that has 512-bit
// registers, else eight. Everything has internal linkage and no function of the standard library is called, so that no
// code for one instruction set can be linked in place of another's. Vectors are the compiler's own: on a machine
// without 256-bit registers it takes two.

namespace chorus {
namespace {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
using Vector = float __attribute__((vector_size(4 * kLanes)));
using IntVector = int __attribute__((vector_size(4 * kLanes)));
using UnalignedVector = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

#define CHORUS_INLINE inline __attribute__((always_inline))

CHORUS_INLINE Vector load(const float* from) {
    return *reinterpret_cast<const UnalignedVector*>(from);
}

CHORUS_INLINE void store(float* to, Vector value) {
    *reinterpret_cast<UnalignedVector*>(to) = value;
}

CHORUS_INLINE Vector all(float value) {
    return value - Vector{};
}

}  // namespace
}  // namespace chorus
