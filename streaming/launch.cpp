#include <fmt/format.h>
#include <glib.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string_view>

#include "streaming/audio_source.h"

namespace chorus {
namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";

bool is_plain(char c) {
    return g_ascii_isalnum(c) || std::string_view("_-+/:.").find(c) != std::string_view::npos;
}

// A value as gst-launch's grammar wants it. GStreamer reads a value twice: the grammar takes off the outer quotes and
// the backslashes; what is left is read as a string, where a leading quote and the word NULL have a meaning of their
// own. Only for those is the inner form spelt out in octal.
std::string launch_value(std::string_view value) {
    std::string text(value.substr(0, value.find('\0')));
    if (text.empty() || text.front() == '"' || text == "NULL") {
        std::string inner = "\"";
        for (const char c : text) {
            if (is_plain(c)) {
                inner += c;
            } else {
                inner += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
            }
        }
        text = inner + '"';
    }
    std::string result = "\"";
    for (const char c : text) {
        if (c == '\\' || c == '"') result += '\\';
        result += c;
    }
    return result + '"';
}

std::string file_uri(const std::string& path) {
    std::string uri = "file://";
    for (const char c : std::filesystem::absolute(path).string()) {
        if (is_plain(c)) {
            uri += c;
        } else {
            uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return uri;
}

// Without a user, or what may be one: "frog:12" may be a host and its port, or a user and a password's beginning.
bool is_plain_host(std::string_view authority) {
    const bool is_ipv6 = authority.starts_with('[') &&
                         authority.find_first_not_of("0123456789abcdefABCDEF:.", 1) == authority.size() - 1 &&
                         authority.ends_with(']');
    return is_ipv6 || authority.find_first_of(":@") == std::string_view::npos;
}

}  // namespace

std::string launch_for_file(const std::string& path) {
    constexpr std::string_view kOnlySound = "caps=audio/x-raw expose-all-streams=false";
    // A launch line is UTF-8, the names on an old recorder's card need not be.
    if (!g_utf8_validate(path.data(), static_cast<gssize>(path.size()), nullptr)) {
        return fmt::format("uridecodebin uri={} {}", launch_value(file_uri(path)), kOnlySound);
    }
    const std::string anchored = path.empty() || path.front() == '/' ? path : "./" + path;
    return fmt::format("filesrc blocksize=1048576 location={} ! decodebin {}", launch_value(anchored), kOnlySound);
}

std::string launch_for_alsa(const std::string& device) {
    return fmt::format("alsasrc device={}", launch_value(device));
}

std::string launch_for_pulse(const std::string& device) {
    return device.empty() ? "pulsesrc" : fmt::format("pulsesrc device={}", launch_value(device));
}

std::string launch_for_rtsp(const std::string& url, int latency_ms) {
    // Cameras send pictures too: only the sound is linked.
    return fmt::format(
        "rtspsrc name=rtspsrc location={} latency={} protocols=tcp add-reference-timestamp-meta=true ! "
        "application/x-rtp,media=audio ! decodebin caps=audio/x-raw",
        launch_value(url), std::max(latency_ms, 0));
}

std::string launch_for_rtp(const RtpOptions& options) {
    if (options.port < 1 || options.port > 65535) {
        throw std::invalid_argument(fmt::format("RTP port {} is not in 1..65535", options.port));
    }
    if (options.rate_hz < 1 || options.channels < 1) {
        throw std::invalid_argument("RTP needs a rate and at least one channel");
    }
    const auto depayload = [&]() -> std::string_view {
        if (options.encoding == "L16") return "rtpL16depay";
        if (options.encoding == "L24") return "rtpL24depay";
        if (options.encoding == "OPUS") return "rtpopusdepay ! opusdec";
        throw std::invalid_argument(fmt::format("RTP encoding {} is not L16, L24 or OPUS", options.encoding));
    }();
    const auto caps = fmt::format(
        "application/x-rtp,media=(string)audio,clock-rate=(int){},encoding-name=(string){},"
        "channels=(int){},encoding-params=(string){}",
        options.encoding == "OPUS" ? 48000 : options.rate_hz, options.encoding, options.channels, options.channels);
    return fmt::format("udpsrc address={} port={} buffer-size=2097152 caps={} ! rtpjitterbuffer ! {}",
                       launch_value(options.address), options.port, launch_value(caps), depayload);
}

std::string redact_urls(std::string_view text) {
    constexpr std::string_view kMark = "://";
    std::string result;
    result.reserve(text.size());
    std::size_t done = 0;
    for (auto mark = text.find(kMark); mark != std::string_view::npos; mark = text.find(kMark, done)) {
        const auto begin = mark + kMark.size();
        const auto after = [&](std::string_view set, std::size_t from) {
            return std::min(text.find_first_of(set, from), text.size());
        };
        const auto word_end = after(kSpace, begin);
        auto url_end = std::min(after("\"'`<>", begin), word_end);
        const auto authority = text.substr(begin, std::min(after("/?#", begin), url_end) - begin);

        // A password may hold a slash, a question mark or a quote that should have been escaped. So whatever stands
        // before the word's last @ is taken for the user's part, unless a plain host comes first: better a path lost
        // than a password told.
        auto host = begin;
        const auto last_at = text.substr(begin, word_end - begin).rfind('@');
        if (last_at != std::string_view::npos && !is_plain_host(authority)) host = begin + last_at + 1;
        url_end = std::max(url_end, std::min(after("\"'`<>", host), word_end));
        const auto query = std::min(after("?", host), url_end);
        const auto second = text.find(kMark, host);  // "http://one/,rtsp://another/"

        result += text.substr(done, begin - done);
        result += text.substr(host, std::min(query, second) - host);
        done = second < query ? second : url_end;
    }
    result += text.substr(done);
    return result;
}

}  // namespace chorus
