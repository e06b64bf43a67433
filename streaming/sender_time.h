#pragma once

#include <gst/gst.h>

#include <optional>

#include "streaming/audio_block.h"

namespace chorus::gst {

/// When the buffer's sound was captured by the clock of the stream's sender, where RTP's jitter buffer has noted it
/// (from RTCP sender reports). A sender whose clock is further than a minute from `now` is not believed.
std::optional<UtcTime> sender_time_of(GstBuffer* buffer, UtcTime now);

}  // namespace chorus::gst
