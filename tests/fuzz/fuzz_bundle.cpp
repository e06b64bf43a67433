#include <cstdint>
#include <stdexcept>

#include "model/bundle.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        chorus::parse_bundle({reinterpret_cast<const std::byte*>(data), size});
    } catch (const std::runtime_error&) {
    }
    return 0;
}
