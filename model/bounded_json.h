#pragma once
// JSON from a file nobody vouches for. Internal to model/.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace chorus {

/// Refuses what nlohmann::json would quietly accept: the same key twice, and nesting deeper than `max_depth`. Throws
/// std::runtime_error with one line that begins with `what`.
nlohmann::json parse_bounded_json(std::string_view text, int max_depth, const std::string& what);

/// A name from such a file, fit to be shown in one line.
std::string shown(std::string name);

}  // namespace chorus
