#pragma once

#include "config/config_reader.h"
#include "daemon/config.h"
#include "model/bundle.h"

namespace chorus {

/// Notes the faults, and what to warn of, that only show when a configuration and a model are held against each other.
/// root: of the document that the configuration was read from.
void check_against_model(ConfigSection root, const Config& config, const Bundle& bundle);

}  // namespace chorus
