#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "streaming/audio_block.h"

namespace chorus {

/// "2026-11-23T02:14:07.120000Z"
std::string to_iso8601(UtcTime time);

/// As above, with 0 to 6 digits of fraction and a 'Z'; empty for anything else, impossible dates included.
std::optional<UtcTime> from_iso8601(std::string_view text);

/// Now, by the system's clock.
UtcTime utc_now();

}  // namespace chorus
