// The configuration, as text alone: nothing is opened, no GStreamer element made.
#include <cstdint>
#include <string_view>

#include "config/config_reader.h"
#include "daemon/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        chorus::parse_config({reinterpret_cast<const char*>(data), size}, "c.toml", chorus::ConfigDepth::kTextAlone);
    } catch (const chorus::ConfigError&) {
    }
    return 0;
}
