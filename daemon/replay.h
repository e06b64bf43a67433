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
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
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
    /// Binds; throws std::runtime_error naming the endpoint. `messaging` and `metrics` outlive the server.
    ReplayServer(Messaging& messaging, const std::string& endpoint, std::filesystem::path journal, Metrics& metrics);
    ~ReplayServer();
    ReplayServer(const ReplayServer&) = delete;
    ReplayServer& operator=(const ReplayServer&) = delete;

    /// As bound, with the port taken.
    const std::string& endpoint() const { return endpoint_; }

    /// What broke its thread, if anything did. Any thread.
    bool failed() const { return failed_; }
    void rethrow_failure() const;

  private:
    struct Socket;
    void run();
    void answer_next();
    std::vector<std::string> answer(std::string_view request);

    const std::filesystem::path journal_;
    Metrics& metrics_;
    std::unique_ptr<Socket> socket_;
    std::string endpoint_;
    std::atomic<bool> stopping_{false};
    std::exception_ptr failure_;  // written before failed_, read after
    std::atomic<bool> failed_{false};
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
    /// A server with keys answers only to `keys` that it allows.
    explicit ReplayClient(const std::string& endpoint, const std::optional<CurveClient>& keys = std::nullopt);
    ~ReplayClient();
    ReplayClient(const ReplayClient&) = delete;
    ReplayClient& operator=(const ReplayClient&) = delete;

    /// Throws std::runtime_error when no answer comes in time, or an error or anything but an answer does. Whatever the
    /// server sends, the messages are at most those asked for, and first and last lie in 0..2^62.
    ReplayReply fetch(const ReplayRequest& request, std::chrono::milliseconds timeout);

  private:
    struct Socket;
    std::unique_ptr<Socket> socket_;
    std::string endpoint_;
};

}  // namespace chorus
