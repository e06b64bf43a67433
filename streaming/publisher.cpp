#include "streaming/publisher.h"

#include <fmt/core.h>

#include <stdexcept>
#include <utility>
#include <zmq.hpp>

namespace chorus {
namespace {

constexpr int kQueuedMessages = 10'000;            // for each peer; beyond it that peer loses messages
constexpr std::chrono::milliseconds kLinger{300};  // unsent messages may delay a stop by this
constexpr std::chrono::milliseconds kHeartbeat{5'000};
constexpr std::chrono::milliseconds kHeartbeatTimeout{15'000};

// A peer that vanished without closing (power cut, cable) is noticed by the heartbeat; keep-alive covers peers too old
// to answer one.
void notice_dead_peers(zmq::socket_t& socket) {
    socket.set(zmq::sockopt::heartbeat_ivl, static_cast<int>(kHeartbeat.count()));
    socket.set(zmq::sockopt::heartbeat_timeout, static_cast<int>(kHeartbeatTimeout.count()));
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 30);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 10);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

// libzmq would quietly take the port's lower 16 bits.
void check_port(const std::string& endpoint) {
    const auto port = endpoint.substr(endpoint.rfind(':') + 1);
    const bool is_number = !port.empty() && port.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && (port.size() > 5 || std::stoi(port) > 65535)) {
        throw std::runtime_error(fmt::format("{}: port {} is not in 0..65535", endpoint, port));
    }
}

}  // namespace

struct Publisher::Socket {
    zmq::context_t context{1};
    zmq::socket_t pub{context, zmq::socket_type::pub};
};

Publisher::Publisher(const std::string& endpoint) : socket_(std::make_unique<Socket>()) {
    check_port(endpoint);
    auto& pub = socket_->pub;
    pub.set(zmq::sockopt::sndhwm, kQueuedMessages);
    pub.set(zmq::sockopt::linger, static_cast<int>(kLinger.count()));
    notice_dead_peers(pub);
    try {
        pub.bind(endpoint);
    } catch (const zmq::error_t& error) {
        throw std::runtime_error(fmt::format("cannot publish on {}: {}", endpoint, error.what()));
    }
    endpoint_ = pub.get(zmq::sockopt::last_endpoint);
}

Publisher::~Publisher() = default;

void Publisher::send(const Message& message) {
    // A PUB socket drops for a slow peer instead of refusing, so neither frame can be turned away alone.
    socket_->pub.send(zmq::buffer(message.topic), zmq::send_flags::sndmore | zmq::send_flags::dontwait);
    socket_->pub.send(zmq::buffer(message.body), zmq::send_flags::dontwait);
}

struct Subscriber::Socket {
    zmq::context_t context{1};
    zmq::socket_t sub{context, zmq::socket_type::sub};
};

Subscriber::Subscriber(const std::string& endpoint, const std::string& prefix) : socket_(std::make_unique<Socket>()) {
    check_port(endpoint);
    auto& sub = socket_->sub;
    sub.set(zmq::sockopt::rcvhwm, kQueuedMessages);
    sub.set(zmq::sockopt::linger, 0);
    notice_dead_peers(sub);
    sub.set(zmq::sockopt::subscribe, prefix);
    try {
        sub.connect(endpoint);
    } catch (const zmq::error_t& error) {
        throw std::runtime_error(fmt::format("cannot subscribe to {}: {}", endpoint, error.what()));
    }
}

Subscriber::~Subscriber() = default;

bool Subscriber::receive(Message& message, std::chrono::milliseconds timeout) {
    auto& sub = socket_->sub;
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const auto now = std::chrono::steady_clock::now();
        const auto left = now < deadline ? std::chrono::ceil<std::chrono::milliseconds>(deadline - now)
                                         : std::chrono::milliseconds{0};
        try {
            zmq::pollitem_t item{sub.handle(), 0, ZMQ_POLLIN, 0};
            if (zmq::poll(&item, 1, left) == 0) return false;

            // The frames of a message arrive together, so none of these waits.
            zmq::message_t topic;
            zmq::message_t body;
            std::size_t frames = 0;
            for (bool more = true; more; ++frames) {
                zmq::message_t surplus;
                auto& frame = frames == 0 ? topic : frames == 1 ? body : surplus;
                if (!sub.recv(frame, zmq::recv_flags::dontwait)) break;
                more = frame.more();
            }
            if (frames != 2) continue;
            message = {topic.to_string(), body.to_string()};
            return true;
        } catch (const zmq::error_t& error) {
            if (error.num() != EINTR) throw std::runtime_error(fmt::format("cannot receive: {}", error.what()));
            return false;  // a signal: the caller may want to look at why
        }
    }
}

}  // namespace chorus
