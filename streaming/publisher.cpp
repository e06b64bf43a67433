#include "streaming/publisher.h"

#include <fmt/core.h>

#include <stdexcept>
#include <utility>
#include <zmq.hpp>

#include "streaming/messaging.h"

namespace chorus {
namespace {

constexpr int kQueuedMessages = 10'000;               // for each peer; beyond it that peer loses messages
constexpr std::int64_t kLongestSubscription = 4'096;  // bytes; whoever sends more is disconnected
constexpr std::chrono::milliseconds kLinger{300};     // unsent messages may delay a stop by this

}  // namespace

struct Publisher::Socket {
    std::unique_ptr<Messaging> own_messaging;  // before the socket, which it outlives
    zmq::socket_t pub;

    explicit Socket(Messaging& messaging) : pub(messaging.context(), zmq::socket_type::pub) {}
    explicit Socket(std::unique_ptr<Messaging> own)
        : own_messaging(std::move(own)), pub(own_messaging->context(), zmq::socket_type::pub) {}
};

Publisher::Publisher(Messaging& messaging, const std::string& endpoint) : socket_(std::make_unique<Socket>(messaging)) {
    messaging.secure(socket_->pub);
    bind(endpoint);
}

Publisher::Publisher(const std::string& endpoint) : socket_(std::make_unique<Socket>(std::make_unique<Messaging>())) {
    bind(endpoint);
}

void Publisher::bind(const std::string& endpoint) {
    auto& pub = socket_->pub;
    prepare_for(pub, endpoint);
    pub.set(zmq::sockopt::sndhwm, kQueuedMessages);
    pub.set(zmq::sockopt::maxmsgsize, kLongestSubscription);
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

Subscriber::Subscriber(const std::string& endpoint, const std::string& prefix, const std::optional<CurveClient>& keys)
    : socket_(std::make_unique<Socket>()) {
    auto& sub = socket_->sub;
    prepare_for(sub, endpoint);
    if (keys) use_curve_client(sub, *keys);
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
