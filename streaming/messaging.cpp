#include "streaming/messaging.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <zmq.hpp>

#include "streaming/endpoint.h"

namespace chorus {
namespace {

constexpr const char* kGateEndpoint = "inproc://zeromq.zap.01";
constexpr const char* kDomain = "chorus";
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kMostFrames = 16;  // a question has seven
constexpr std::chrono::seconds kLogInterval{60};

std::vector<zmq::message_t> receive_frames(zmq::socket_t& socket) {
    std::vector<zmq::message_t> frames;
    for (bool more = true; more;) {
        zmq::message_t frame;
        if (!socket.recv(frame)) return {};
        more = frame.more();
        if (frames.size() < kMostFrames) frames.push_back(std::move(frame));
    }
    return frames;
}

std::string key_text(const zmq::message_t& credentials) {
    std::array<char, 41> text{};
    return zmq_z85_encode(text.data(), credentials.data<std::uint8_t>(), kKeyBytes) == nullptr ? "" : text.data();
}

}  // namespace

/// Answers ZeroMQ's questions whether a client may come in. They are: version, request, domain, address, identity,
/// mechanism, credentials; the answers: version, request, status, text, user, metadata.
class Messaging::Gate {
  public:
    Gate(zmq::context_t& context, CurveAllowList allowed, std::function<void()> on_refused)
        : context_(context),
          allowed_(std::move(allowed)),
          on_refused_(std::move(on_refused)),
          socket_(context, zmq::socket_type::rep) {
        socket_.set(zmq::sockopt::linger, 0);
        socket_.bind(kGateEndpoint);
        thread_ = std::jthread([this] { run(); });
    }

    ~Gate() {
        context_.shutdown();  // wakes the thread
        thread_.join();
    }

    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

  private:
    void run() noexcept {
        pthread_setname_np(pthread_self(), "zap");
        try {
            for (;;) answer(receive_frames(socket_));
        } catch (const zmq::error_t& error) {
            if (error.num() != ETERM) say_closed(error.what());
        } catch (const std::exception& error) {
            say_closed(error.what());
        }
        // The socket stays: ZeroMQ lets everyone in when nobody is there to ask, and nobody when no answer comes.
    }

    static void say_closed(const char* reason) {
        spdlog::error("messaging: no client can be let in any more: {}", reason);
    }

    void answer(const std::vector<zmq::message_t>& question) {
        if (question.size() < 2) return reply("", "500", "not a question", "");
        const auto request = question[1].to_string();
        const bool is_curve = question.size() == 7 && question[0].to_string_view() == "1.0" &&
                              question[5].to_string_view() == "CURVE" && question[6].size() == kKeyBytes;
        if (!is_curve) return reply(request, "400", "CURVE only", "");
        const auto key = key_text(question[6]);
        if (const auto client = allowed_.find(key); client != allowed_.end()) {
            return reply(request, "200", "OK", client->second);
        }
        refuse(key, question[3].to_string());
        reply(request, "400", "not on the allow-list", "");
    }

    void refuse(const std::string& key, const std::string& address) {
        if (on_refused_) on_refused_();
        ++refused_unsaid_;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_log_) return;
        next_log_ = now + kLogInterval;
        spdlog::warn("messaging: {} client(s) refused, the last from {} with the key {}, which is not allowed",
                     std::exchange(refused_unsaid_, 0), address, key);
    }

    void reply(const std::string& request, std::string_view status, std::string_view text, std::string_view user) {
        const std::array<std::string_view, 6> frames = {"1.0", request, status, text, user, ""};
        for (std::size_t i = 0; i < frames.size(); ++i) {
            socket_.send(zmq::buffer(frames[i]),
                         i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
        }
    }

    zmq::context_t& context_;
    const CurveAllowList allowed_;
    const std::function<void()> on_refused_;
    zmq::socket_t socket_;  // from here on of the thread alone
    std::chrono::steady_clock::time_point next_log_{};
    int refused_unsaid_ = 0;
    std::jthread thread_;
};

Messaging::Messaging(std::optional<CurveServer> server, std::function<void()> on_refused)
    : context_(std::make_unique<zmq::context_t>(1)), server_(std::move(server)) {
    if (server_) gate_ = std::make_unique<Gate>(*context_, server_->allowed, std::move(on_refused));
}

Messaging::~Messaging() = default;

zmq::context_t& Messaging::context() {
    return *context_;
}

void Messaging::secure(zmq::socket_t& socket) const {
    if (!server_) return;
    socket.set(zmq::sockopt::zap_domain, kDomain);
    socket.set(zmq::sockopt::curve_server, true);
    socket.set(zmq::sockopt::curve_secretkey, server_->keys.secret_key);
}

void notice_dead_peers(zmq::socket_t& socket) {
    socket.set(zmq::sockopt::heartbeat_ivl, 5'000);
    socket.set(zmq::sockopt::heartbeat_timeout, 15'000);
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 30);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 10);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

void prepare_for(zmq::socket_t& socket, const std::string& endpoint) {
    if (!endpoint.starts_with("tcp://")) return;
    const auto address = parse_tcp_endpoint(endpoint);
    if (!address) {
        throw std::runtime_error(fmt::format("{}: is not tcp://HOST:PORT with a port of 0 to 65535", endpoint));
    }
    socket.set(zmq::sockopt::ipv6, address->host.starts_with('['));
}

void use_curve_client(zmq::socket_t& socket, const CurveClient& client) {
    socket.set(zmq::sockopt::curve_serverkey, client.server_key);
    socket.set(zmq::sockopt::curve_publickey, client.keys.public_key);
    socket.set(zmq::sockopt::curve_secretkey, client.keys.secret_key);
}

}  // namespace chorus
