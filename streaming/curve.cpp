#include "streaming/curve.h"

#include <fmt/format.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

namespace chorus {
namespace {

constexpr std::size_t kKeyCharacters = 40;
constexpr std::size_t kLongestName = 64;

using KeyText = std::array<char, kKeyCharacters + 1>;

struct Line {
    int number = 0;
    std::string_view text;
};

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r";
    const auto begin = std::min(text.find_first_not_of(kSpace), text.size());
    return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<Line> content_lines(std::string_view text) {
    std::vector<Line> lines;
    for (int number = 1; !text.empty(); ++number) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto line = trim(text.substr(0, end));
        // No key begins so: its first five characters would be more than 32 bits.
        const bool is_comment = line.starts_with('#');
        if (!line.empty() && !is_comment) lines.push_back({number, line});
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

}  // namespace

CurveKeyPair make_curve_key_pair() {
    KeyText public_key{};
    KeyText secret_key{};
    if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
        throw std::runtime_error(fmt::format("cannot make a key pair: {}", zmq_strerror(zmq_errno())));
    }
    return {public_key.data(), secret_key.data()};
}

bool is_curve_key(std::string_view text) {
    std::array<std::uint8_t, 32> bytes{};
    return text.size() == kKeyCharacters && zmq_z85_decode(bytes.data(), std::string(text).c_str()) != nullptr;
}

CurveKeyPair parse_secret_key(std::string_view text) {
    const auto lines = content_lines(text);
    if (lines.size() != 1) throw std::runtime_error(fmt::format("holds {} keys instead of one", lines.size()));
    const std::string secret(lines[0].text);
    KeyText public_key{};
    if (!is_curve_key(secret) || zmq_curve_public(public_key.data(), secret.c_str()) != 0) {
        throw std::runtime_error(fmt::format("line {}: is no key of 40 Z85 characters", lines[0].number));
    }
    return {public_key.data(), secret};
}

CurveAllowList parse_allow_list(std::string_view text) {
    CurveAllowList allowed;
    for (const auto& [number, line] : content_lines(text)) {
        const auto key = line.substr(0, line.find_first_of(" \t"));
        const auto name = trim(line.substr(key.size()));
        if (!is_curve_key(key)) {
            throw std::runtime_error(fmt::format("line {}: must begin with a key of 40 Z85 characters", number));
        }
        const bool printable =
            std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= ' ' && c < 127; });
        if (name.size() > kLongestName || !printable) {
            throw std::runtime_error(
                fmt::format("line {}: the name must be at most {} printable characters", number, kLongestName));
        }
        if (!allowed.emplace(key, name.empty() ? key : name).second) {
            throw std::runtime_error(fmt::format("line {}: this key is there already", number));
        }
    }
    return allowed;
}

}  // namespace chorus
