#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

/// Users of the HTTP server -> crypt(5) hashes of their passwords.
using PasswordHashes = std::map<std::string, std::string, std::less<>>;

/// Lines of "user:hash" as `mkpasswd -m yescrypt` or `openssl passwd -6` make hashes ($y$, $6$, $2b$); '#' begins a
/// comment. Throws std::runtime_error naming the line.
PasswordHashes parse_password_hashes(std::string_view text);

/// Whether a user may come in. A hash takes tens of milliseconds by design, so a password once accepted is known again
/// by a quick digest, and after a wrong one the next unknown password is looked at only after a pause: whoever guesses
/// can't keep the processor busy, nor lock out who is known. One thread.
class HttpUsers {
  public:
    enum class Answer { kAdmitted, kRefused, kLater };

    /// Throws std::runtime_error when the system gives no random numbers.
    explicit HttpUsers(PasswordHashes hashes);

    bool empty() const { return hashes_.empty(); }
    Answer check(std::string_view user, std::string_view password, std::chrono::steady_clock::time_point now);

  private:
    using Digest = std::array<unsigned char, 32>;
    Digest digest(std::string_view password) const;

    const PasswordHashes hashes_;
    std::array<unsigned char, 32> digest_key_{};  // of this process alone
    std::map<std::string, Digest, std::less<>> accepted_;
    std::chrono::steady_clock::time_point next_check_{};
};

}  // namespace chorus
