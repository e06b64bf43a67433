#pragma once
// CURVE keys and the text files they are kept in: a key is 40 characters of Z85, a comment a line that begins with '#'.

#include <map>
#include <string>
#include <string_view>

namespace chorus {

struct CurveKeyPair {
    std::string public_key;
    std::string secret_key;
    bool operator==(const CurveKeyPair&) const = default;
};

/// Client public keys that may connect -> the name that each is known by.
using CurveAllowList = std::map<std::string, std::string>;

/// What a CURVE server needs.
struct CurveServer {
    CurveKeyPair keys;
    CurveAllowList allowed;
    bool operator==(const CurveServer&) const = default;
};

/// What a CURVE client needs.
struct CurveClient {
    std::string server_key;  // the server's public key
    CurveKeyPair keys;
};

CurveKeyPair make_curve_key_pair();

bool is_curve_key(std::string_view text);

/// A secret key file: one line with the secret key; the public key is computed from it. Throws std::runtime_error with
/// one line that holds nothing of the text.
CurveKeyPair parse_secret_key(std::string_view text);

/// An allow-list: lines of "KEY" or "KEY name". Throws std::runtime_error naming the line.
CurveAllowList parse_allow_list(std::string_view text);

}  // namespace chorus
