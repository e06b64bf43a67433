#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "streaming/curve.h"

namespace chorus {

class Messaging;

/// Two frames of a ZeroMQ message.
struct Message {
    std::string topic;
    std::string body;
};

/// A PUB socket. It never waits: a subscriber that doesn't keep up loses messages, others don't. One thread at a time.
class Publisher {
  public:
    /// Binds; throws std::runtime_error naming the endpoint. Port * or 0 takes a free one. `messaging` outlives it.
    Publisher(Messaging& messaging, const std::string& endpoint);
    /// With a context of its own, for whoever reaches it.
    explicit Publisher(const std::string& endpoint);
    ~Publisher();
    Publisher(const Publisher&) = delete;
    Publisher& operator=(const Publisher&) = delete;

    void send(const Message& message);
    /// The endpoint as bound, with the port taken.
    const std::string& endpoint() const { return endpoint_; }

  private:
    struct Socket;
    void bind(const std::string& endpoint);
    std::unique_ptr<Socket> socket_;
    std::string endpoint_;
};

/// A SUB socket. One thread at a time.
class Subscriber {
  public:
    /// Connects and subscribes to topics that begin with `prefix`; throws std::runtime_error for an endpoint that makes
    /// no sense. The publisher need not be there yet. A publisher with keys is heard only with `keys` that it allows.
    Subscriber(const std::string& endpoint, const std::string& prefix,
               const std::optional<CurveClient>& keys = std::nullopt);
    ~Subscriber();
    Subscriber(const Subscriber&) = delete;
    Subscriber& operator=(const Subscriber&) = delete;

    /// False when nothing came in time.
    bool receive(Message& message, std::chrono::milliseconds timeout);

  private:
    struct Socket;
    std::unique_ptr<Socket> socket_;
};

}  // namespace chorus
