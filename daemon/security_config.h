#pragma once
// The parts of chorusd's configuration that say who may come in.

#include <optional>
#include <string>

#include "config/config_reader.h"
#include "daemon/config.h"

namespace chorus {

/// [curve]: nothing where no keys are named. Faults are noted, as everywhere.
std::optional<CurveServer> read_curve(ConfigSection section, ConfigDepth depth);

/// [http]: certificate_file and users_file, and whether `listen` may do without.
HttpSecurity read_http_security(ConfigSection section, const std::string& listen, ConfigDepth depth);

/// Notes a fault when a ZeroMQ server's endpoint is none, or is beyond loopback without keys.
void check_endpoint(ConfigSection section, const std::string& key, const std::string& endpoint, bool has_keys);

}  // namespace chorus
