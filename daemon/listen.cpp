#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "daemon/commands.h"
#include "daemon/printable.h"
#include "streaming/publisher.h"

namespace chorus {
namespace {

// "02:14:07  pond-7 hydrophone-array ch 3  BOAALB Boana albopunctata  open  score 0.93"
std::string for_people(const Message& message) try {
    const auto json = nlohmann::json::parse(message.body);
    if (json.at("schema") != "chorus.event/1") return message.topic;
    const auto start =
        json.at("start").is_string()
            ? json["start"].get<std::string>().substr(0, 19)
            : fmt::format("{:10.3f} s", json.value("start_sample", 0.0) / json.value("sample_rate_hz", 1.0));
    const double seconds =
        (json.value("end_sample", 0.0) - json.value("start_sample", 0.0)) / json.value("sample_rate_hz", 1.0);
    return fmt::format("{}  {} {} ch {}  {:<6} {:<14} {:<24} {:5.1f} s  score {:.2f}{}", start,
                       json.value("station", ""), json.value("source", ""), json.value("channel", 0),
                       json.value("phase", ""), json.value("code", ""), json.value("label", ""), seconds,
                       json.value("peak_score", 0.0), message.topic.starts_with("shadow.") ? "  (candidate)" : "");
} catch (const nlohmann::json::exception&) {
    return message.topic;
}

}  // namespace

int listen_to(const ListenOptions& options) {
    using namespace std::chrono_literals;
    Subscriber subscriber(options.endpoint, options.topic, read_client_keys(options.server_key, options.key_file));
    const auto timeout = options.timeout_seconds > 0
                             ? std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_seconds * 1e3))
                             : 24h;
    Message message;
    for (int received = 0; options.count == 0 || received < options.count;) {
        if (subscriber.receive(message, timeout)) {
            ++received;
            std::cout << printable(options.format == "text" ? for_people(message) : message.body) << std::endl;
            if (!std::cout) throw std::runtime_error("cannot write to standard output");
        } else if (options.timeout_seconds > 0) {
            throw std::runtime_error(
                fmt::format("{}: nothing came for {:g} s", options.endpoint, options.timeout_seconds));
        }
    }
    return EXIT_SUCCESS;
}

}  // namespace chorus
