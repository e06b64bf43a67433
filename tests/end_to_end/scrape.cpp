#include "tests/end_to_end/scrape.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace chorus {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

std::string http_get(int port, const std::string& path) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string reply;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        const auto request = fmt::format("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
        if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
            char buffer[65536];
            for (ssize_t n = 0; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;)
                reply.append(buffer, static_cast<std::size_t>(n));
        }
    }
    close(fd);
    return reply;
}

// name{key="value",...} number
Scrape::Scrape(const std::string& text) {
    for (const auto& line : lines_of(text)) {
        const auto open = line.find('{');
        const auto close = line.rfind('}');
        if (!line.starts_with("chorus_") || open == std::string::npos || close == std::string::npos) continue;
        Series series;
        for (auto at = open + 1; at < close;) {
            const auto equals = line.find("=\"", at);
            const auto end = line.find('"', equals + 2);
            series.labels[line.substr(at, equals - at)] = line.substr(equals + 2, end - equals - 2);
            at = end + 2;  // past the quote and the comma
        }
        series.value = std::stod(line.substr(close + 1));
        series_.emplace(line.substr(0, open), std::move(series));
    }
}

double Scrape::sum(const std::string& name, const Labels& labels) const {
    double sum = 0;
    const auto [begin, end] = series_.equal_range(name);
    for (auto at = begin; at != end; ++at) {
        const auto& own = at->second.labels;
        if (std::includes(own.begin(), own.end(), labels.begin(), labels.end())) sum += at->second.value;
    }
    return sum;
}

std::size_t Scrape::channels() const {
    return series_.count("chorus_samples_in_total");
}

std::string Scrape::imbalance() const {
    const auto [begin, end] = series_.equal_range("chorus_samples_in_total");
    for (auto at = begin; at != end; ++at) {
        const auto& [labels, in] = at->second;
        const double analysed = sum("chorus_samples_analysed_total", labels);
        const double dropped = sum("chorus_samples_dropped_total", labels);
        const double pending = sum("chorus_samples_pending", labels);
        if (in != analysed + dropped + pending || pending < 0) {
            return fmt::format("source {} channel {}: {:.0f} in, {:.0f} analysed, {:.0f} dropped, {:.0f} pending",
                               labels.at("source"), labels.at("channel"), in, analysed, dropped, pending);
        }
    }
    return "";
}

}  // namespace chorus
