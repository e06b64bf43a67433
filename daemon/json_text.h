#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace chorus {

/// On one line. What quotes file names or requests need not be UTF-8: bytes that aren't are replaced.
inline std::string to_text(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace chorus
