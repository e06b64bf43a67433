// What a stranger may send to the replay socket: it is read or refused with a reason, nothing else.
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "daemon/replay.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const auto request = chorus::parse_replay_request({reinterpret_cast<const char*>(data), size});
        if (request.after < 0 || request.limit < 1 || request.limit > chorus::kMostReplayed) __builtin_trap();
    } catch (const std::invalid_argument&) {
        // refused
    }
    return 0;
}
