#pragma once

#include <memory>

#include "daemon/config.h"
#include "streaming/audio_source.h"

namespace chorus {

/// Opens what the configuration describes; throws std::runtime_error with one line that names the source.
std::unique_ptr<AudioSource> open_source(const SourceConfig& config);

}  // namespace chorus
