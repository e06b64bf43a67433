#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "model/bundle.h"

namespace chorus {
namespace {

class Sha256 {
  public:
    Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
        require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
    }
    void add(std::span<const std::byte> bytes) {
        require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
    }
    std::string hex() {
        std::array<unsigned char, 32> digest{};
        unsigned int length = 0;
        require(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1 && length == digest.size());
        constexpr char kDigits[] = "0123456789abcdef";
        std::string text;
        text.reserve(2 * digest.size());
        for (const unsigned char byte : digest) {
            text += kDigits[byte >> 4];
            text += kDigits[byte & 0xF];
        }
        return text;
    }

  private:
    static void require(bool worked) {
        if (!worked) throw std::runtime_error("SHA-256 is not available");
    }
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256_hex(std::span<const std::byte> data) {
    Sha256 hash;
    hash.add(data);
    return hash.hex();
}

std::string sha256_hex_of_file(const std::filesystem::path& path) {
    constexpr std::size_t kBlock = 1 << 18;
    Sha256 hash;
    std::ifstream file(path, std::ios::binary);
    std::vector<char> block(kBlock);
    while (file) {
        file.read(block.data(), static_cast<std::streamsize>(block.size()));
        hash.add(std::as_bytes(std::span(block).first(static_cast<std::size_t>(file.gcount()))));
    }
    if (!file.eof()) throw std::runtime_error(fmt::format("{}: cannot be read", path.string()));
    return hash.hex();
}

std::string bundle_id(std::span<const std::byte> file) {
    return sha256_hex(file).substr(0, 16);
}

}  // namespace chorus
