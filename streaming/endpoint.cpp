#include "streaming/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace chorus {
namespace {

constexpr std::size_t kLongestHost = 255;  // what DNS allows

std::string without_brackets(const std::string& host) {
    return host.size() > 2 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2) : "";
}

bool is_ipv4(const std::string& host) {
    in_addr address{};
    return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& host) {
    in6_addr address{};
    return inet_pton(AF_INET6, without_brackets(host).c_str(), &address) == 1;
}

bool is_host_name(std::string_view host) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
               c == '_';
    };
    return !host.empty() && std::all_of(host.begin(), host.end(), allowed);
}

}  // namespace

bool HostPort::is_address() const {
    return host == "*" || is_ipv4(host) || is_ipv6(host);
}

bool HostPort::is_loopback() const {
    if (is_ipv4(host)) return host.starts_with("127.");
    in6_addr address{};
    return inet_pton(AF_INET6, without_brackets(host).c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

std::optional<HostPort> parse_host_port(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon > kLongestHost) return std::nullopt;
    HostPort parsed{.host = std::string(text.substr(0, colon)), .port = 0};
    if (parsed.host != "*" && !is_host_name(parsed.host) && !is_ipv6(parsed.host)) return std::nullopt;
    const auto port = text.substr(colon + 1);
    if (port == "*") return parsed;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
    if (error != std::errc() || end != port.data() + port.size()) return std::nullopt;
    if (parsed.port < 0 || parsed.port > 65'535) return std::nullopt;
    return parsed;
}

std::optional<HostPort> parse_tcp_endpoint(std::string_view endpoint) {
    constexpr std::string_view kTcp = "tcp://";
    if (!endpoint.starts_with(kTcp)) return std::nullopt;
    return parse_host_port(endpoint.substr(kTcp.size()));
}

}  // namespace chorus
