#include "daemon/replay.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <zmq.hpp>

#include "config/program.h"
#include "daemon/journal.h"
#include "daemon/json_text.h"
#include "daemon/metrics.h"
#include "daemon/printable.h"
#include "streaming/messaging.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSchema = "chorus.replay/1";
constexpr std::int64_t kMostRequestBytes = 4096;  // libzmq drops the connection of who sends more
constexpr std::size_t kMostReplyBytes = 1 << 20;
constexpr std::int64_t kMostFrameBytes = 16 << 20;  // of a reply, as a client sees it: a message alone may be longer
constexpr int kQueuedReplies = 16;                  // for each peer; beyond, a peer that doesn't read loses replies
constexpr auto kStopPoll = 100ms;

std::vector<std::string> error_reply(const std::string& text) {
    return {to_text({{"schema", kSchema}, {"error", text}})};
}

}  // namespace

ReplayRequest parse_replay_request(std::string_view text) {
    // Nothing in a request is nested, so a hostile depth is turned away before it costs anything.
    const auto flat = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        if (depth > 1) throw std::invalid_argument("the request is nested");
        return true;
    };
    const auto json = nlohmann::json::parse(text.begin(), text.end(), flat, false);
    if (!json.is_object()) throw std::invalid_argument("the request is no JSON object");
    ReplayRequest request;
    if (!json.contains("after")) throw std::invalid_argument("\"after\" is missing");
    for (const auto& [key, value] : json.items()) {
        if (key != "after" && key != "limit") throw std::invalid_argument("unknown key in the request");
        if (!value.is_number_integer()) throw std::invalid_argument(fmt::format("\"{}\" is no whole number", key));
        const auto number = value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX
                                ? INT64_MAX
                                : value.get<std::int64_t>();
        if (key == "after") {
            if (number < 0) throw std::invalid_argument("\"after\" is negative");
            request.after = number;
        } else {
            if (number < 1 || number > kMostReplayed)
                throw std::invalid_argument(fmt::format("\"limit\" is not in 1..{}", kMostReplayed));
            request.limit = static_cast<int>(number);
        }
    }
    return request;
}

struct ReplayServer::Socket {
    zmq::socket_t router;
};

ReplayServer::ReplayServer(Messaging& messaging, const std::string& endpoint, std::filesystem::path journal,
                           Metrics& metrics)
    : journal_(std::move(journal)),
      metrics_(metrics),
      socket_(new Socket{zmq::socket_t(messaging.context(), zmq::socket_type::router)}) {
    auto& router = socket_->router;
    messaging.secure(router);
    prepare_for(router, endpoint);
    notice_dead_peers(router);
    router.set(zmq::sockopt::linger, 0);
    router.set(zmq::sockopt::sndhwm, kQueuedReplies);
    router.set(zmq::sockopt::maxmsgsize, kMostRequestBytes);
    try {
        router.bind(endpoint);
    } catch (const zmq::error_t& error) {
        throw std::runtime_error(fmt::format("cannot answer replay requests on {}: {}", endpoint, error.what()));
    }
    endpoint_ = router.get(zmq::sockopt::last_endpoint);
    thread_ = std::jthread([this] {
        name_this_thread("replay");
        try {
            run();
        } catch (...) {
            failure_ = std::current_exception();
            failed_ = true;
        }
    });
}

ReplayServer::~ReplayServer() {
    stopping_ = true;
}

void ReplayServer::rethrow_failure() const {
    if (failed_) std::rethrow_exception(failure_);
}

void ReplayServer::run() {
    while (!stopping_) {
        try {
            answer_next();
        } catch (const zmq::error_t& error) {
            if (error.num() == EINTR || error.num() == EAGAIN || error.num() == EHOSTUNREACH) continue;
            throw std::runtime_error(fmt::format("cannot answer replay requests any more: {}", error.what()));
        }
    }
}

void ReplayServer::answer_next() {
    auto& router = socket_->router;
    zmq::pollitem_t item{router.handle(), 0, ZMQ_POLLIN, 0};
    if (zmq::poll(&item, 1, kStopPoll) == 0) return;
    // The last frame is the request; those before it, the peer's name and what a REQ socket adds, go back first.
    std::vector<zmq::message_t> envelope;
    zmq::message_t request;
    for (bool more = true; more;) {
        if (!router.recv(request, zmq::recv_flags::dontwait)) break;
        more = request.more();
        if (more && envelope.size() < 8) envelope.push_back(std::move(request));
    }
    const auto reply = answer(request.to_string_view());
    for (auto& frame : envelope) router.send(frame, zmq::send_flags::sndmore | zmq::send_flags::dontwait);
    for (std::size_t i = 0; i < reply.size(); ++i) {
        const auto more = i + 1 < reply.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
        router.send(zmq::buffer(reply[i]), more | zmq::send_flags::dontwait);
    }
}

std::vector<std::string> ReplayServer::answer(std::string_view text) {
    ReplayRequest request;
    JournalSlice slice;
    try {
        request = parse_replay_request(text);
        slice = read_journal(journal_, request.after, request.limit, kMostReplyBytes);
    } catch (const std::exception& error) {
        metrics_.count_replay(false);
        return error_reply(error.what());
    }
    metrics_.count_replay(true);
    const nlohmann::ordered_json header = {{"schema", kSchema},
                                           {"after", request.after},
                                           {"count", slice.entries.size()},
                                           {"first", slice.first},
                                           {"last", slice.last}};
    std::vector<std::string> reply = {header.dump()};
    for (auto& entry : slice.entries) {
        reply.push_back(std::move(entry.topic));
        reply.push_back(std::move(entry.body));
    }
    return reply;
}

struct ReplayClient::Socket {
    zmq::context_t context{1};
    zmq::socket_t request{context, zmq::socket_type::req};
};

ReplayClient::ReplayClient(const std::string& endpoint, const std::optional<CurveClient>& keys)
    : socket_(std::make_unique<Socket>()), endpoint_(endpoint) {
    auto& socket = socket_->request;
    prepare_for(socket, endpoint);
    if (keys) use_curve_client(socket, *keys);
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::maxmsgsize, kMostFrameBytes);
    socket.set(zmq::sockopt::req_relaxed, 1);  // an answer that never came doesn't keep us from asking again
    socket.set(zmq::sockopt::req_correlate, 1);
    try {
        socket.connect(endpoint);
    } catch (const zmq::error_t& error) {
        throw std::runtime_error(fmt::format("cannot connect to {}: {}", endpoint, error.what()));
    }
}

ReplayClient::~ReplayClient() = default;

ReplayReply ReplayClient::fetch(const ReplayRequest& request, std::chrono::milliseconds timeout) {
    auto& socket = socket_->request;
    const nlohmann::ordered_json json = {{"after", request.after}, {"limit", request.limit}};
    socket.send(zmq::buffer(json.dump()), zmq::send_flags::none);
    zmq::pollitem_t item{socket.handle(), 0, ZMQ_POLLIN, 0};
    if (zmq::poll(&item, 1, timeout) == 0)
        throw std::runtime_error(
            fmt::format("{}: no answer within {:g} s", endpoint_, std::chrono::duration<double>(timeout).count()));
    std::vector<std::string> frames;
    const auto most = 1 + 2 * static_cast<std::size_t>(request.limit);
    bool too_many = false;
    for (bool more = true; more;) {
        zmq::message_t frame;
        if (!socket.recv(frame, zmq::recv_flags::dontwait)) break;
        more = frame.more();
        too_many = frames.size() == most;
        if (!too_many) frames.push_back(frame.to_string());
    }
    const auto wrong = [&] {
        return std::runtime_error(fmt::format("{}: answered with something that is no {}", endpoint_, kSchema));
    };
    if (frames.empty() || too_many || frames.size() % 2 == 0) throw wrong();
    const auto header = nlohmann::json::parse(frames[0], nullptr, /*allow_exceptions=*/false);
    ReplayReply reply;
    try {
        if (header.at("schema") != kSchema) throw wrong();
        if (header.contains("error"))
            throw std::runtime_error(
                fmt::format("{}: {}", endpoint_, printable(header["error"].get<std::string>().substr(0, 200))));
        if (!header.at("first").is_number_integer() || !header.at("last").is_number_integer()) throw wrong();
        reply.first = header["first"].get<std::int64_t>();
        reply.last = header["last"].get<std::int64_t>();
    } catch (const nlohmann::json::exception&) {
        throw wrong();
    }
    constexpr auto kMostSeq = std::int64_t{1} << 62;  // so that sums with counts don't overflow
    if (reply.first < 0 || reply.last < 0 || reply.first > kMostSeq || reply.last > kMostSeq) throw wrong();
    if (frames.size() > 1 && request.after >= reply.last) throw wrong();
    for (std::size_t i = 1; i < frames.size(); i += 2)
        reply.messages.push_back({std::move(frames[i]), std::move(frames[i + 1])});
    return reply;
}

}  // namespace chorus
