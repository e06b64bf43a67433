#include "daemon/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include "config/program.h"
#include "streaming/endpoint.h"

namespace chorus {
namespace {

constexpr unsigned kConnections = 64;
constexpr unsigned kIdleSeconds = 5;
constexpr const char* kTlsVersions = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

union SocketAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

SocketAddress socket_address(const HostPort& address) {
    SocketAddress result{};
    const auto port = htons(static_cast<std::uint16_t>(address.port));
    if (address.host.starts_with('[')) {
        result.v6.sin6_family = AF_INET6;
        result.v6.sin6_port = port;
        inet_pton(AF_INET6, address.host.substr(1, address.host.size() - 2).c_str(), &result.v6.sin6_addr);
    } else {
        result.v4.sin_family = AF_INET;
        result.v4.sin_port = port;
        if (address.host != "*") inet_pton(AF_INET, address.host.c_str(), &result.v4.sin_addr);
    }
    return result;
}

struct FreeText {
    void operator()(char* text) const { MHD_free(text); }
};
using Text = std::unique_ptr<char, FreeText>;

struct DestroyResponse {
    void operator()(MHD_Response* response) const { MHD_destroy_response(response); }
};
using Response = std::unique_ptr<MHD_Response, DestroyResponse>;

Response make_response(HttpResponse page) {
    Response response(MHD_create_response_from_buffer(page.body.size(), page.body.data(), MHD_RESPMEM_MUST_COPY));
    if (!response) return response;
    MHD_add_response_header(response.get(), "Content-Type", page.content_type.c_str());
    MHD_add_response_header(response.get(), "Cache-Control", "no-store");
    MHD_add_response_header(response.get(), "X-Content-Type-Options", "nosniff");
    return response;
}

MHD_Result reply(MHD_Connection* connection, const HttpResponse& page) {
    const auto response = make_response(page);
    if (!response) return MHD_NO;
    return MHD_queue_response(connection, static_cast<unsigned>(page.status), response.get());
}

MHD_Result ask_for_password(MHD_Connection* connection) {
    const auto response = make_response({.status = 401, .body = "name and password, please\n"});
    return response ? MHD_queue_basic_auth_fail_response(connection, "chorus", response.get()) : MHD_NO;
}

}  // namespace

struct HttpServer::Impl {
    const std::map<std::string, Page> pages;
    HttpUsers users;
    MHD_Daemon* daemon = nullptr;
    std::mutex mutex;
    std::string first_error;  // what the library logs while it starts; what follows the first says less

    Impl(std::map<std::string, Page> all_pages, PasswordHashes hashes)
        : pages(std::move(all_pages)), users(std::move(hashes)) {}

    __attribute__((format(printf, 2, 0))) static void on_log(void* data, const char* format, va_list values) noexcept {
        auto* const self = static_cast<Impl*>(data);
        std::array<char, 512> line{};
        std::vsnprintf(line.data(), line.size(), format, values);
        const std::lock_guard lock(self->mutex);
        if (!self->first_error.empty()) return;
        self->first_error = line.data();
        self->first_error.erase(self->first_error.find_last_not_of(" \n") + 1);
    }

    // Called twice a request: with its header, when *seen is null, and with its end.
    static MHD_Result on_request(void* data, MHD_Connection* connection, const char* url, const char* method,
                                 const char*, const char*, size_t*, void** seen) noexcept {
        auto& self = *static_cast<Impl*>(data);
        try {
            const std::string_view verb(method);
            if (verb != MHD_HTTP_METHOD_GET && verb != MHD_HTTP_METHOD_HEAD) {
                return reply(connection, {.status = 405, .body = "GET or HEAD\n"});
            }
            if (*seen == nullptr) {
                *seen = data;
                return MHD_YES;
            }
            if (!self.users.empty()) {
                const auto answer = self.who_asks(connection);
                if (answer == HttpUsers::Answer::kRefused) return ask_for_password(connection);
                if (answer == HttpUsers::Answer::kLater) {
                    return reply(connection, {.status = 429, .body = "too many wrong passwords: try again later\n"});
                }
            }
            const auto page = self.pages.find(url);
            if (page == self.pages.end()) return reply(connection, {.status = 404, .body = "not here\n"});
            return reply(connection, page->second());
        } catch (...) {
            return reply(connection, {.status = 500, .body = current_exception_message() + "\n"});
        }
    }

    HttpUsers::Answer who_asks(MHD_Connection* connection) {
        char* raw_password = nullptr;
        const Text user(MHD_basic_auth_get_username_password(connection, &raw_password));
        const Text password(raw_password);
        if (!user || !password) return HttpUsers::Answer::kRefused;
        return users.check(user.get(), password.get(), std::chrono::steady_clock::now());
    }
};

HttpServer::HttpServer(const std::string& listen, std::map<std::string, Page> pages, const HttpSecurity& security)
    : impl_(std::make_unique<Impl>(std::move(pages), security.users)) {
    const auto address = parse_host_port(listen);
    if (!address || !address->is_address()) {
        throw std::runtime_error(fmt::format("cannot serve HTTP on {}: is not ADDRESS:PORT", listen));
    }
    const auto socket_name = socket_address(*address);
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ERROR_LOG;
    if (socket_name.any.sa_family == AF_INET6) flags |= MHD_USE_IPv6;
    std::array<MHD_OptionItem, 4> tls{};
    if (!security.certificate_pem.empty()) {
        flags |= MHD_USE_TLS;
        auto* const pem = const_cast<char*>(security.certificate_pem.c_str());
        tls = {{{MHD_OPTION_HTTPS_MEM_CERT, 0, pem},
                {MHD_OPTION_HTTPS_MEM_KEY, 0, pem},
                {MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(kTlsVersions)},
                {MHD_OPTION_END, 0, nullptr}}};
    }
    impl_->daemon = MHD_start_daemon(flags, 0, nullptr, nullptr, &Impl::on_request, impl_.get(),  //
                                     MHD_OPTION_EXTERNAL_LOGGER, &Impl::on_log, impl_.get(),      //
                                     MHD_OPTION_SOCK_ADDR, &socket_name.any,                      //
                                     MHD_OPTION_CONNECTION_LIMIT, kConnections,                   //
                                     MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,                 //
                                     MHD_OPTION_ARRAY, tls.data(),                                //
                                     MHD_OPTION_END);
    if (impl_->daemon == nullptr) {
        throw std::runtime_error(fmt::format("cannot serve HTTP on {}: {}", listen, impl_->first_error));
    }
    const auto* const bound = MHD_get_daemon_info(impl_->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (bound != nullptr) port_ = bound->port;
}

HttpServer::~HttpServer() {
    if (impl_->daemon != nullptr) MHD_stop_daemon(impl_->daemon);
}

}  // namespace chorus
