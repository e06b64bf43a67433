#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "daemon/commands.h"
#include "daemon/printable.h"
#include "daemon/replay.h"

namespace chorus {
namespace {

std::int64_t seq_of(const Message& message, const std::string& endpoint) {
    const auto json = nlohmann::json::parse(message.body, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("seq") || !json["seq"].is_number_integer())
        throw std::runtime_error(fmt::format("{}: sent an event without a \"seq\"", endpoint));
    return json["seq"].get<std::int64_t>();
}

}  // namespace

int replay_from(const ReplayOptions& options) {
    ReplayClient client(options.endpoint, read_client_keys(options.server_key, options.key_file));
    const auto timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_seconds * 1e3));
    std::int64_t after = options.after;
    for (std::int64_t left = options.limit; options.limit == 0 || left > 0;) {
        const auto most = options.limit == 0 ? kMostReplayed : std::min<std::int64_t>(left, kMostReplayed);
        const auto reply = client.fetch({.after = after, .limit = static_cast<int>(most)}, timeout);
        if (after < reply.first - 1 && after == options.after)
            std::cerr << "chorusd: " << options.endpoint << ": events " << after + 1 << " to " << reply.first - 1
                      << " are no longer kept\n";
        if (reply.messages.empty()) break;
        for (const auto& message : reply.messages) std::cout << printable(message.body) << '\n';
        if (!std::cout.flush()) throw std::runtime_error("cannot write to standard output");
        const auto last = seq_of(reply.messages.back(), options.endpoint);
        if (last <= after) throw std::runtime_error(fmt::format("{}: goes round in circles", options.endpoint));
        after = last;
        left -= static_cast<std::int64_t>(reply.messages.size());
    }
    return EXIT_SUCCESS;
}

}  // namespace chorus
