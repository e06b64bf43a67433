#include "tests/end_to_end/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace chorus {
namespace {

constexpr int kPollMs = 20;

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

}  // namespace

TcpProxy::TcpProxy(int target_port) : target_port_(target_port), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    auto address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        throw std::runtime_error("the proxy cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

TcpProxy::~TcpProxy() {
    thread_.request_stop();
    thread_.join();
    for (const auto& pair : pairs_) {
        close(pair.client);
        close(pair.server);
    }
    close(listener_);
}

void TcpProxy::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
        for (auto& pair : pairs_) {
            pair.dead = pair.dead || !forwarding_;
            if (!pair.dead) fds.insert(fds.end(), {{pair.client, POLLIN, 0}, {pair.server, POLLIN, 0}});
        }
        if (poll(fds.data(), fds.size(), kPollMs) <= 0) continue;
        std::size_t at = 1;
        for (auto& pair : pairs_) {
            if (pair.dead) continue;
            const bool client_speaks = fds[at++].revents != 0;
            const bool server_speaks = fds[at++].revents != 0;
            if ((client_speaks && !pass_on(pair.client, pair.server)) ||
                (server_speaks && !pass_on(pair.server, pair.client))) {
                shutdown(pair.client, SHUT_RDWR);
                shutdown(pair.server, SHUT_RDWR);
                pair.dead = true;
            }
        }
        if (fds[0].revents != 0) accept_client();
    }
}

void TcpProxy::accept_client() {
    Pair pair{.client = accept(listener_, nullptr, nullptr), .server = socket(AF_INET, SOCK_STREAM, 0)};
    const auto target = loopback(target_port_);
    if (forwarding_ && connect(pair.server, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
        shutdown(pair.client, SHUT_RDWR);
        pair.dead = true;
    }
    pairs_.push_back(pair);
}

bool TcpProxy::pass_on(int from, int to) {
    char buffer[65536];
    const auto size = recv(from, buffer, sizeof buffer, 0);
    for (ssize_t sent = 0; sent < size;) {
        const auto n = send(to, buffer + sent, static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
        if (n <= 0) return false;
        sent += n;
    }
    return size > 0;
}

}  // namespace chorus
