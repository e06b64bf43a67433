#pragma once
// Eight floats at a time, for the files that are compiled once for each instruction set. Everything has internal
// linkage and no function of the standard library is called, so that no code for one instruction set can be linked in
// place of another's. Vectors are the compiler's own: on a machine without 256-bit registers it takes two.

namespace chorus {
namespace {

using Vector = float __attribute__((vector_size(32)));
using IntVector = int __attribute__((vector_size(32)));
using UnalignedVector = float __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int kLanes = 8;

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
