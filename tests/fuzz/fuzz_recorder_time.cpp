// The first line is a file's name; what follows it, the file's bytes.
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "streaming/recorder_time.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto line = input.substr(0, input.find('\n'));
    chorus::time_in_name(line);
    std::istringstream wav{std::string(input.substr(line.size() < input.size() ? line.size() + 1 : line.size()))};
    chorus::time_in_metadata(wav);
    return 0;
}
