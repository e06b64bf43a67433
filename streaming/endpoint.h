#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace chorus {

/// HOST:PORT and nothing else. HOST: an IPv4 address, an IPv6 address in brackets, a host name, or "*" (all addresses).
/// PORT: 0 to 65535, or "*" for 0, a free one.
struct HostPort {
    std::string host;  // as written, brackets included
    int port = 0;

    /// An address one can bind to: IPv4, [IPv6] or "*".
    bool is_address() const;
    /// 127.0.0.0/8 or [::1].
    bool is_loopback() const;
};

std::optional<HostPort> parse_host_port(std::string_view text);

/// What follows tcp:// in a ZeroMQ endpoint; nothing for other transports.
std::optional<HostPort> parse_tcp_endpoint(std::string_view endpoint);

}  // namespace chorus
