#pragma once
// Light, as the files that are compiled for each instruction set include it.

namespace chorus {

/// What a network computes with.
enum class Precision {
    kFloat32,
    kFloat16,  // on a GPU alone
    /// On a CPU alone: 1x1 convolutions multiply numbers rounded to bfloat16 and sum in float32, in two thirds of the
    /// time.
    kBfloat16,
};

}  // namespace chorus
