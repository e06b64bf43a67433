#pragma once
// Includes LibTorch: only for .cpp files of model/, trainer/ and their tests.

#include <c10/core/Device.h>

#include <string>

namespace chorus {

/// "auto" (a GPU where LibTorch finds one: the first, or that of a process's number on its machine), "cpu" or "cuda:N".
/// Throws std::runtime_error with one line for anything else and for a GPU that isn't there.
c10::Device find_device(const std::string& name, int number = 0);

}  // namespace chorus
