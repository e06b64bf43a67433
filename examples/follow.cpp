// Keeps a complete copy of a station's events, whatever is restarted: this program, the daemon, the network.
//
//     follow FILE [--publish tcp://127.0.0.1:7740] [--replay tcp://127.0.0.1:7741]
//            [--server-key-file station.pub --key-file lab.key]
//
// FILE gets one JSON line for each message, in order of `seq`, each once. It is also the only state: at the start the
// last whole line tells where to go on. Events that the station no longer keeps are missing, which is said on stderr.
// Should the station count from the beginning again (a new disk), that is said, and it ends: begin another FILE. A
// station with keys asks for its public key and this client's secret key, in the files that `chorusd keygen` makes.
// Needs ZeroMQ and nlohmann/json and nothing of Chorus.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
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

using Options = std::map<std::string, std::string>;  // by their names

// The key in a file made by keygen: its one line that is no comment.
std::string read_key(const std::string& path) {
    std::ifstream file(path);
    std::string key;
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line[0] != '#') key += line;
    }
    if (key.size() != 40) throw std::runtime_error(path + ": holds no key of 40 characters");
    return key;
}

class Follower {
  public:
    explicit Follower(const Options& options) : replay_endpoint_(options.at("--replay")) {
        if (!options.at("--key-file").empty()) {
            server_key_ = read_key(options.at("--server-key-file"));
            secret_key_ = read_key(options.at("--key-file"));
        }
        open_copy(options.at("FILE"));
        prepare(stream_, options.at("--publish"));
        stream_.set(zmq::sockopt::subscribe, "event.");
        stream_.set(zmq::sockopt::subscribe, "status.");
        stream_.connect(options.at("--publish"));
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
            const bool is_event = body["schema"] == "chorus.event/1";
            if (is_event && seq == last_ + 1) {
                write(frames[1]);
            } else if (seq > last_ || (!is_event && seq < last_)) {  // something was missed, or the count began anew
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

    void prepare(zmq::socket_t& socket, const std::string& endpoint) const {
        socket.set(zmq::sockopt::ipv6, endpoint.find('[') != std::string::npos);
        if (secret_key_.empty()) return;
        char public_key[41];
        if (zmq_curve_public(public_key, secret_key_.c_str()) != 0) throw zmq::error_t();
        socket.set(zmq::sockopt::curve_serverkey, server_key_);
        socket.set(zmq::sockopt::curve_secretkey, secret_key_);
        socket.set(zmq::sockopt::curve_publickey, public_key);
    }

    void write(const std::string& body) {
        const auto seq = json::parse(body)["seq"].get<std::int64_t>();
        if (seq != last_ + 1)
            std::cerr << "follow: events " << last_ + 1 << " to " << seq - 1 << " are no longer kept\n";
        (copy_ << body << '\n').flush();
        last_ = seq;
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
            prepare(*replay_, replay_endpoint_);
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
        if (header["last"] < last_)
            throw std::runtime_error("the station counts anew: its last event is " + header["last"].dump() +
                                     ", this copy's " + std::to_string(last_));
        for (std::size_t i = 2; i < frames.size(); i += 2) write(frames[i]);
        return frames.size() > 1;
    }

    zmq::context_t context_;
    zmq::socket_t stream_{context_, zmq::socket_type::sub};
    std::unique_ptr<zmq::socket_t> replay_;
    const std::string replay_endpoint_;
    std::string server_key_;  // none: the station asks for no keys
    std::string secret_key_;
    std::ofstream copy_;
    std::int64_t last_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
    Options options = {{"--publish", "tcp://127.0.0.1:7740"},
                       {"--replay", "tcp://127.0.0.1:7741"},
                       {"--server-key-file", ""},
                       {"--key-file", ""}};
    bool understood = true;
    for (int i = 1; i < argc; ++i) {
        const bool named = options.contains(argv[i]);
        const char* value = named ? argv[i + 1] : argv[i];  // argv ends with a null pointer
        understood = understood && value != nullptr && (named || (value[0] != '-' && !options.contains("FILE")));
        if (understood) options[named ? argv[i++] : "FILE"] = value;
    }
    if (!understood || !options.contains("FILE") ||
        options["--key-file"].empty() != options["--server-key-file"].empty()) {
        std::cerr << "follow FILE [--publish ENDPOINT] [--replay ENDPOINT] [--server-key-file FILE --key-file FILE]\n";
        return 2;
    }
    Follower(options).run();
} catch (const std::exception& error) {
    std::cerr << "follow: " << error.what() << '\n';
    return 1;
}
