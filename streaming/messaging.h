#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "streaming/curve.h"

namespace zmq {
class context_t;
class socket_t;
}  // namespace zmq

namespace chorus {

/// The ZeroMQ context that a daemon's servers share, and who may connect to them: with keys, only CURVE clients whose
/// public key is allowed, which a thread ("zap") decides (RFC 27); without, whoever reaches a socket. Outlives its
/// sockets.
class Messaging {
  public:
    /// `on_refused` is called by the zap thread for each client it turns away; the log tells of them once a minute.
    explicit Messaging(std::optional<CurveServer> server = std::nullopt, std::function<void()> on_refused = {});
    ~Messaging();
    Messaging(const Messaging&) = delete;
    Messaging& operator=(const Messaging&) = delete;

    zmq::context_t& context();

    /// Makes a server's socket of this context ask for keys, where there are any. Before its bind().
    void secure(zmq::socket_t& socket) const;

  private:
    class Gate;
    std::unique_ptr<zmq::context_t> context_;
    std::optional<CurveServer> server_;
    std::unique_ptr<Gate> gate_;  // before the context goes
};

/// Makes a socket close the connections of peers that vanished without closing (power cut, cable, a new address): by
/// heartbeats within 20 s, by TCP keep-alive within a minute where the peer is too old to answer those. Before its
/// bind() or connect().
void notice_dead_peers(zmq::socket_t& socket);

/// Lets a socket use IPv6 where the endpoint's address is such. Before its bind() or connect(). Throws
/// std::runtime_error for what begins with tcp:// and is no endpoint: libzmq would quietly take a port's lower 16 bits.
void prepare_for(zmq::socket_t& socket, const std::string& endpoint);

/// Makes a client's socket show its keys. Before its connect().
void use_curve_client(zmq::socket_t& socket, const CurveClient& client);

}  // namespace chorus
