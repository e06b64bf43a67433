#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/end_to_end/station.h"

namespace chorus {

/// By channel, the models in the order of their events. OWL's threshold is 0, so each window is a message; a test fails
/// where one is missing or there twice, where sound is in no window, or where two models' events overlap.
/// hop: in samples of the source.
std::map<std::string, std::vector<std::string>> models_of_every_window(const Station& station, std::int64_t hop);

}  // namespace chorus
