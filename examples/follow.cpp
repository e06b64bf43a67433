// Keeps a complete copy of a station's events, whatever is restarted: this program, the daemon, the network.
//
//     follow FILE [PUBLISH-ENDPOINT [REPLAY-ENDPOINT]]
//
// FILE gets one JSON line for each message, in order of `seq`, each once. It is also the only state: at the start the
// last whole line tells where to go on. Needs ZeroMQ and nlohmann/json and nothing of Chorus.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <zmq.hpp>

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

std::vector<std::string> receive(zmq::socket_t& socket) {
    std::vector<std::string> frames;
    for (bool more = true; more;) {
        zmq::message_t frame;
        if (!socket.recv(frame)) break;
        more = frame.more();
        frames.push_back(frame.to_string());
    }
    return frames;
}

bool readable(zmq::socket_t& socket, std::chrono::milliseconds timeout) {
    zmq::pollitem_t item{socket.handle(), 0, ZMQ_POLLIN, 0};
    return zmq::poll(&item, 1, timeout) > 0;
}

class Follower {
  public:
    Follower(const std::string& file, const std::string& publish, std::string replay)
        : replay_endpoint_(std::move(replay)) {
        open_copy(file);
        stream_.set(zmq::sockopt::subscribe, "event.");
        stream_.set(zmq::sockopt::subscribe, "status.");
        stream_.connect(publish);
    }

    [[noreturn]] void run() {
        catch_up();
        for (;;) {
            if (!readable(stream_, 15s)) {  // a status comes every 10 s: silence may hide a loss
                catch_up();
                continue;
            }
            const auto frames = receive(stream_);
            const auto body = json::parse(frames.at(1));
            const auto seq = body["seq"].get<std::int64_t>();
            if (body["schema"] == "chorus.event/1" && seq == last_ + 1) {
                write(frames[1]);
            } else if (seq > last_) {  // something was missed
                catch_up();
            }
        }
    }

  private:
    // A line that was cut off goes; the last whole one tells where to go on.
    void open_copy(const std::string& file) {
        std::ifstream before(file, std::ios::binary);
        std::uintmax_t whole = 0;
        for (std::string line; std::getline(before, line) && !before.eof();) {
            whole += line.size() + 1;
            last_ = json::parse(line)["seq"];
        }
        if (before.is_open()) std::filesystem::resize_file(file, whole);
        copy_.open(file, std::ios::app | std::ios::binary);
        copy_.exceptions(std::ios::failbit | std::ios::badbit);
    }

    void write(const std::string& body) {
        (copy_ << body << '\n').flush();
        last_ = json::parse(body)["seq"];
    }

    void catch_up() {
        while (ask()) {
        }
    }

    // Fetches the next events after the last; false when there are none or the daemon doesn't answer.
    bool ask() {
        if (!replay_) {
            replay_ = std::make_unique<zmq::socket_t>(context_, zmq::socket_type::req);
            replay_->set(zmq::sockopt::linger, 0);
            replay_->connect(replay_endpoint_);
        }
        replay_->send(zmq::buffer(json{{"after", last_}, {"limit", 500}}.dump()), zmq::send_flags::none);
        if (!readable(*replay_, 3s)) {
            replay_.reset();
            return false;
        }
        const auto frames = receive(*replay_);
        const auto header = json::parse(frames.at(0));
        if (header.contains("error")) {
            std::cerr << "follow: " << header["error"] << '\n';
            return false;
        }
        if (header["first"] > last_ + 1)
            std::cerr << "follow: events " << last_ + 1 << " to before " << header["first"] << " are no longer kept\n";
        for (std::size_t i = 2; i < frames.size(); i += 2) write(frames[i]);
        return frames.size() > 1;
    }

    zmq::context_t context_;
    zmq::socket_t stream_{context_, zmq::socket_type::sub};
    std::unique_ptr<zmq::socket_t> replay_;
    const std::string replay_endpoint_;
    std::ofstream copy_;
    std::int64_t last_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 2 || argc > 4) {
        std::cerr << "follow FILE [PUBLISH-ENDPOINT [REPLAY-ENDPOINT]]\n";
        return 2;
    }
    Follower(argv[1], argc > 2 ? argv[2] : "tcp://127.0.0.1:7740", argc > 3 ? argv[3] : "tcp://127.0.0.1:7741").run();
} catch (const std::exception& error) {
    std::cerr << "follow: " << error.what() << '\n';
    return 1;
}
