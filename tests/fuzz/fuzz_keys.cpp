// What says who may come in: key files, allow-lists, password hashes, addresses.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "daemon/http_users.h"
#include "streaming/curve.h"
#include "streaming/endpoint.h"

namespace {

template <typename Parse>
void survive(const Parse& parse) {
    try {
        parse();
    } catch (const std::runtime_error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    survive([&] { chorus::parse_secret_key(text); });
    survive([&] { chorus::parse_password_hashes(text); });
    survive([&] {
        for (const auto& [key, name] : chorus::parse_allow_list(text)) {
            if (!chorus::is_curve_key(key) || name.empty()) std::abort();
        }
    });
    chorus::parse_tcp_endpoint(text);
    if (const auto address = chorus::parse_host_port(text)) {
        const bool in_range = address->port >= 0 && address->port <= 65'535;
        if (!in_range || (address->is_loopback() && !address->is_address())) std::abort();
    }
    return 0;
}
