#pragma once
// Whether a class's rule can be met at all. A hop is at most a window, so windows that follow one another overlap and N
// of them are one run, whatever merge_gap: in unbroken sound every rule with a threshold below 1 can be met. What is
// left to go wrong is sound that ends too soon and thresholds that no score exceeds.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/front_end.h"

namespace chorus {

/// Windows that unbroken sound of so long is cut into: one a hop, and one more for a rest (see Windower).
std::int64_t windows_in(double seconds, const FrontEndParameters& front_end, double hop_seconds);

/// Classes that ask for more windows than there are.
std::vector<std::size_t> out_of_reach(std::span<const int> min_windows, std::int64_t windows);

}  // namespace chorus
