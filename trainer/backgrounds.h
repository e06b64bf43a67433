#pragma once

#include <filesystem>

#include "trainer/dataset.h"

namespace chorus {

/// Recordings of noise, wherever below the folder, cut into windows end to end, as clips without classes. What can't be
/// read or is too short moves to left_out. Throws std::runtime_error with one line that begins with the folder where
/// nothing is left.
Dataset read_backgrounds(const std::filesystem::path& folder, double window_seconds);

}  // namespace chorus
