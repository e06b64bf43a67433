#include "daemon/security_config.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <stdexcept>

#include "config/secret_file.h"
#include "streaming/endpoint.h"

namespace chorus {
namespace {

// What `parse` makes of the file that `key` names; its fault is noted with the file's name in front.
template <typename Parse>
void read_into(ConfigSection& section, const std::string& key, const std::string& path,
               std::string (*read)(const std::string&), const Parse& parse) {
    std::string text;
    try {
        text = read(path);
    } catch (const std::exception& error) {
        section.fault(key, error.what());
        return;
    }
    try {
        parse(text);
    } catch (const std::exception& error) {
        section.fault(key, fmt::format("{}: {}", path, error.what()));
    }
}

template <auto free_function>
struct Free {
    template <typename T>
    void operator()(T* object) const {
        free_function(object);
    }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

// Nobody is there to type one.
int no_passphrase(char*, int, int, void*) noexcept {
    return -1;
}

void check_certificate(const std::string& pem) {
    const auto open = [&] { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); };
    const Certificate certificate(PEM_read_bio_X509(open().get(), nullptr, no_passphrase, nullptr));
    if (!certificate) throw std::runtime_error("holds no certificate (PEM)");
    const PrivateKey key(PEM_read_bio_PrivateKey(open().get(), nullptr, no_passphrase, nullptr));
    if (!key) throw std::runtime_error("holds no private key (PEM, without a passphrase)");
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
        throw std::runtime_error("its private key is not that of its first certificate");
    }
}

}  // namespace

std::optional<CurveServer> read_curve(ConfigSection section, ConfigDepth depth) {
    const auto secret_path = section.text("secret_key_file", "");
    const auto allowed_path = section.text("allowed_keys_file", "");
    if (secret_path.empty() && allowed_path.empty()) return std::nullopt;
    if (secret_path.empty()) section.fault("secret_key_file", "is missing: allowed_keys_file needs it");
    if (allowed_path.empty()) section.fault("allowed_keys_file", "is missing: secret_key_file needs it");
    CurveServer server;
    if (depth == ConfigDepth::kTextAlone || secret_path.empty() || allowed_path.empty()) return server;
    read_into(section, "secret_key_file", secret_path, read_secret_file,
              [&](const auto& text) { server.keys = parse_secret_key(text); });
    read_into(section, "allowed_keys_file", allowed_path, read_listed_file,
              [&](const auto& text) { server.allowed = parse_allow_list(text); });
    return server;
}

HttpSecurity read_http_security(ConfigSection section, const std::string& listen, ConfigDepth depth) {
    const auto certificate_path = section.text("certificate_file", "");
    const auto users_path = section.text("users_file", "");
    if (!listen.empty()) {
        const auto address = parse_host_port(listen);
        if (!address || !address->is_address()) {
            section.fault("listen", "must be ADDRESS:PORT as in 127.0.0.1:9740, or empty for no HTTP");
        } else if (!address->is_loopback() && (certificate_path.empty() || users_path.empty())) {
            section.fault("listen", "must be on loopback (127.0.0.1:PORT), or have certificate_file and users_file");
        }
    }
    HttpSecurity security;
    if (depth == ConfigDepth::kTextAlone) return security;
    if (!certificate_path.empty()) {
        read_into(section, "certificate_file", certificate_path, read_secret_file, [&](const auto& text) {
            check_certificate(text);
            security.certificate_pem = text;
        });
    }
    if (!users_path.empty()) {
        read_into(section, "users_file", users_path, read_secret_file,
                  [&](const auto& text) { security.users = parse_password_hashes(text); });
    }
    return security;
}

void check_endpoint(ConfigSection section, const std::string& key, const std::string& endpoint, bool has_keys) {
    constexpr std::string_view kIpc = "ipc://";
    if (endpoint.starts_with(kIpc) && endpoint.size() > kIpc.size()) return;
    const auto address = parse_tcp_endpoint(endpoint);
    if (!address || !address->is_address()) {
        section.fault(key, "must be tcp://ADDRESS:PORT as in tcp://127.0.0.1:7740, or ipc://PATH");
    } else if (!address->is_loopback() && !has_keys) {
        section.fault(key,
                      "must be on loopback (tcp://127.0.0.1:PORT) or ipc://, or [curve] must name keys: without them "
                      "it is neither encrypted nor authenticated");
    }
}

}  // namespace chorus
