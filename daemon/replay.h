#pragma once
// Events that a subscriber missed, from the journal.
//
// Request, one frame:  {"after": SEQ, "limit": N}          limit: 1 to kMostReplayed, default 100
// Reply: a header      {"schema": "chorus.replay/1", "after": SEQ, "count": N, "first": SEQ, "last": SEQ}
//        then N times topic and body, two frames, as the stream had them, in order of seq.
// first and last are what the journal holds: after < first - 1 means that events are gone for good, by its retention.
// What can't be answered gets {"schema": "chorus.replay/1", "error": "..."}. REQ and DEALER sockets both work.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "streaming/publisher.h"

namespace chorus {

class Metrics;

inline constexpr int kMostReplayed = 1000;

struct ReplayRequest {
    std::int64_t after = 0;
    int limit = 100;
    bool operator==(const ReplayRequest&) const = default;
};

/// Throws std::invalid_argument with what is wrong.
ReplayRequest parse_replay_request(std::string_view text);

/// Answers requests on a ROUTER socket, on a thread of its own.
class ReplayServer {
  public:
    /// Binds; throws std::runtime_error naming the endpoint. `metrics` outlives the server.
    ReplayServer(const std::string& endpoint, std::filesystem::path journal, Metrics& metrics);
    ~ReplayServer();
    ReplayServer(const ReplayServer&) = delete;
    ReplayServer& operator=(const ReplayServer&) = delete;

    /// As bound, with the port taken.
    const std::string& endpoint() const { return endpoint_; }

  private:
    struct Socket;
    void run();
    std::vector<std::string> answer(std::string_view request);

    const std::filesystem::path journal_;
    Metrics& metrics_;
    std::unique_ptr<Socket> socket_;
    std::string endpoint_;
    std::atomic<bool> stopping_{false};
    std::jthread thread_;
};

struct ReplayReply {
    std::int64_t first = 0;
    std::int64_t last = 0;
    std::vector<Message> messages;
};

/// Asks a ReplayServer. One thread at a time.
class ReplayClient {
  public:
    explicit ReplayClient(const std::string& endpoint);
    ~ReplayClient();
    ReplayClient(const ReplayClient&) = delete;
    ReplayClient& operator=(const ReplayClient&) = delete;

    /// Throws std::runtime_error when no answer comes in time, or an error does.
    ReplayReply fetch(const ReplayRequest& request, std::chrono::milliseconds timeout);

  private:
    struct Socket;
    std::unique_ptr<Socket> socket_;
    std::string endpoint_;
};

}  // namespace chorus
