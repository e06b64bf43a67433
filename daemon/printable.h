#pragma once

#include <algorithm>
#include <string>

namespace chorus {

/// One line that a terminal shows as it is, whoever wrote it: control characters become spaces.
inline std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
    return text;
}

}  // namespace chorus
