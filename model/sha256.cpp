#include <openssl/evp.h>

#include <array>
#include <stdexcept>

#include "model/bundle.h"

namespace chorus {

std::string sha256_hex(std::span<const std::byte> data) {
    std::array<unsigned char, 32> digest{};
    unsigned int length = 0;
    if (EVP_Digest(data.data(), data.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1 ||
        length != digest.size()) {
        throw std::runtime_error("SHA-256 is not available");
    }
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    hex.reserve(2 * digest.size());
    for (const unsigned char byte : digest) {
        hex += kDigits[byte >> 4];
        hex += kDigits[byte & 0xF];
    }
    return hex;
}

std::string bundle_id(std::span<const std::byte> file) {
    return sha256_hex(file).substr(0, 16);
}

}  // namespace chorus
