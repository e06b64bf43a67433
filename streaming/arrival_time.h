#pragma once

#include <gst/gst.h>

#include "streaming/audio_block.h"

namespace chorus::gst {

/// From now on each buffer that passes the pad carries when it did, until arrival_of() asks. Lists of buffers don't.
void note_arrivals(GstPad* pad);

/// Now, for a buffer that carries nothing.
MonotonicTime arrival_of(GstBuffer* buffer);

}  // namespace chorus::gst
