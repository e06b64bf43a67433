#include "daemon/http_users.h"

#include <crypt.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace chorus {
namespace {

constexpr std::size_t kLongestUser = 64;
constexpr std::size_t kLongestPassword = 256;
constexpr std::chrono::milliseconds kPause{500};  // after a wrong password

bool is_plain_user(std::string_view user) {
    return !user.empty() && user.size() <= kLongestUser &&
           std::all_of(user.begin(), user.end(), [](unsigned char c) { return c > ' ' && c < 127 && c != ':'; });
}

// Only slow kinds, and whole: a hash cut short would never match.
bool is_strong_hash(std::string_view hash) {
    const auto of_hash = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '/' ||
               c == '$' || c == '=';
    };
    if (!std::all_of(hash.begin(), hash.end(), of_hash)) return false;
    const auto last_part = hash.size() - hash.rfind('$') - 1;
    return (hash.starts_with("$y$") && last_part == 43) || (hash.starts_with("$6$") && last_part == 86) ||
           (hash.starts_with("$2b$") && hash.size() == 60);
}

bool are_equal(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool matches(const std::string& password, const std::string& hash) {
    const auto work = std::make_unique<crypt_data>();
    const char* const computed = crypt_r(password.c_str(), hash.c_str(), work.get());
    return computed != nullptr && are_equal(computed, hash);
}

}  // namespace

PasswordHashes parse_password_hashes(std::string_view text) {
    PasswordHashes hashes;
    for (int number = 1; !text.empty(); ++number) {
        const auto end = std::min(text.find('\n'), text.size());
        auto line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
        if (line.empty() || line.front() == '#') continue;
        const auto colon = line.find(':');
        const auto user = line.substr(0, colon);
        if (colon == std::string_view::npos || !is_plain_user(user)) {
            throw std::runtime_error(fmt::format("line {}: must be user:hash", number));
        }
        const std::string hash(line.substr(colon + 1));
        if (!is_strong_hash(hash)) {
            throw std::runtime_error(fmt::format(
                "line {}: the hash must be of `mkpasswd -m yescrypt` or `openssl passwd -6` ($y$, $6$, $2b$)", number));
        }
        if (!hashes.emplace(user, hash).second) {
            throw std::runtime_error(fmt::format("line {}: this user is there already", number));
        }
    }
    if (hashes.empty()) throw std::runtime_error("names no user");
    return hashes;
}

HttpUsers::HttpUsers(PasswordHashes hashes) : hashes_(std::move(hashes)) {
    if (RAND_bytes(digest_key_.data(), static_cast<int>(digest_key_.size())) != 1) {
        throw std::runtime_error("no random numbers to be had");
    }
}

HttpUsers::Answer HttpUsers::check(std::string_view user, std::string_view password,
                                   std::chrono::steady_clock::time_point now) {
    if (password.size() > kLongestPassword || password.find('\0') != std::string_view::npos) return Answer::kRefused;
    const auto offered = digest(password);
    if (const auto known = accepted_.find(user); known != accepted_.end()) {
        if (CRYPTO_memcmp(known->second.data(), offered.data(), offered.size()) == 0) return Answer::kAdmitted;
    }
    if (now < next_check_) return Answer::kLater;
    // Who isn't there takes as long as who is.
    const auto entry = hashes_.find(user);
    const auto& hash = entry == hashes_.end() ? hashes_.begin()->second : entry->second;
    if (matches(std::string(password), hash) && entry != hashes_.end()) {
        accepted_.insert_or_assign(entry->first, offered);
        return Answer::kAdmitted;
    }
    next_check_ = now + kPause;
    return Answer::kRefused;
}

HttpUsers::Digest HttpUsers::digest(std::string_view password) const {
    Digest result{};
    HMAC(EVP_sha256(), digest_key_.data(), static_cast<int>(digest_key_.size()),
         reinterpret_cast<const unsigned char*>(password.data()), password.size(), result.data(), nullptr);
    return result;
}

}  // namespace chorus
