#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace chorus {

/// Forwards TCP connections to a port of 127.0.0.1. While it doesn't forward, it keeps connections open and accepts
/// new ones, but passes nothing on: what a peer sees of a router that lost power. Owns the thread that does so.
class TcpProxy {
  public:
    explicit TcpProxy(int target_port);
    ~TcpProxy();
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;

    int port() const { return port_; }
    /// Any thread. What was open while it did not forward stays dead afterwards.
    void forward(bool on) { forwarding_ = on; }

  private:
    struct Pair {
        int client = -1;
        int server = -1;
        bool dead = false;
    };
    void run(const std::stop_token& stop);
    void accept_client();
    static bool pass_on(int from, int to);

    int target_port_;
    int listener_ = -1;
    int port_ = 0;
    std::vector<Pair> pairs_;  // of the thread alone
    std::atomic<bool> forwarding_{true};
    std::jthread thread_;
};

}  // namespace chorus
