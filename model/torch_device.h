#pragma once
// Includes LibTorch: only for .cpp files of model/, trainer/ and their tests.

#include <c10/core/Device.h>

#include <exception>
#include <string>

namespace chorus {

/// "auto" (a GPU where LibTorch finds one: the first, or that of a process's number on its machine), "cpu" or "cuda:N".
/// Throws std::runtime_error with one line for anything else and for a GPU that isn't there.
c10::Device find_device(const std::string& name, int number = 0);

/// What LibTorch says of an error but for the trace, which is for its own developers; else the error's first line.
std::string first_line(const std::exception& error);

/// From now on a GPU computes float32 in float32: TensorFloat-32 has 10 bits of the 23.
void forbid_tensor_float_32();

}  // namespace chorus
