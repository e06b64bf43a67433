#include "daemon/http_server.h"

#include <civetweb.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "config/program.h"

// CivetWeb asks for threads with stacks of 100 KiB, of which glibc takes the thread-local storage of every library
// loaded; OpenBLAS and LibTorch alone bring 70 KiB, so that no thread can be made (EINVAL). This stands before libc's
// own function and grants a little more.
extern "C" int pthread_attr_setstacksize(pthread_attr_t* attributes, size_t size) noexcept {
    constexpr size_t kLeast = 512 * 1024;
    using Function = int (*)(pthread_attr_t*, size_t);
    static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_attr_setstacksize"));
    return original(attributes, size < kLeast ? kLeast : size);
}

namespace chorus {
namespace {

const char* reason_phrase(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 503:
            return "Service Unavailable";
        default:
            return "Internal Server Error";
    }
}

void reply(mg_connection* connection, const HttpResponse& response, bool with_body) {
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\n\r\n",
              response.status, reason_phrase(response.status), response.content_type.c_str(), response.body.size());
    if (with_body) mg_write(connection, response.body.data(), response.body.size());
}

}  // namespace

struct HttpServer::Impl {
    std::map<std::string, Page> pages;
    mg_context* context = nullptr;
    std::string first_error;  // what CivetWeb logs while it starts; what follows the first says less
    std::mutex mutex;

    static int on_log(const mg_connection* connection, const char* message) noexcept {
        auto* self = static_cast<Impl*>(mg_get_user_data(mg_get_context(connection)));
        if (self != nullptr) {
            const std::lock_guard lock(self->mutex);
            if (self->first_error.empty()) self->first_error = message;
        }
        return 1;
    }

    static int on_request(mg_connection* connection, void* data) noexcept {
        const auto& self = *static_cast<const Impl*>(data);
        const mg_request_info* request = mg_get_request_info(connection);
        const bool head = std::strcmp(request->request_method, "HEAD") == 0;
        HttpResponse response;
        try {
            const auto page = self.pages.find(request->local_uri);
            if (!head && std::strcmp(request->request_method, "GET") != 0) {
                response = {.status = 405, .body = "GET or HEAD\n"};
            } else if (page == self.pages.end()) {
                response = {.status = 404, .body = "not here\n"};
            } else {
                response = page->second();
            }
        } catch (...) {
            response = {.status = 500, .body = current_exception_message() + "\n"};
        }
        reply(connection, response, !head);
        return response.status;
    }
};

HttpServer::HttpServer(const std::string& listen, std::map<std::string, Page> pages) : impl_(std::make_unique<Impl>()) {
    static std::once_flag once;
    std::call_once(once, [] { mg_init_library(0); });

    impl_->pages = std::move(pages);
    mg_callbacks callbacks{};
    callbacks.log_message = &Impl::on_log;
    const char* options[] = {"listening_ports",
                             listen.c_str(),
                             "num_threads",
                             "8",
                             "request_timeout_ms",
                             "3000",
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             "5000",
                             nullptr};
    impl_->context = mg_start(&callbacks, impl_.get(), options);
    if (impl_->context == nullptr) {
        throw std::runtime_error(fmt::format(
            "cannot serve HTTP on {}: {}", listen,
            impl_->first_error.empty() ? "the port is taken or the address is not ours" : impl_->first_error));
    }
    host_ = listen.substr(0, listen.rfind(':'));
    mg_server_port port{};
    if (mg_get_server_ports(impl_->context, 1, &port) > 0) port_ = port.port;
    mg_set_request_handler(impl_->context, "**", &Impl::on_request, impl_.get());
}

HttpServer::~HttpServer() {
    if (impl_->context == nullptr) return;
    // CivetWeb looks whether it shall stop only when a connection comes or 2 s have passed: so connections come.
    std::atomic<bool> stopped{false};
    const std::jthread visitor([&] {
        while (!stopped) {
            mg_close_connection(mg_connect_client(host_.c_str(), port_, 0, nullptr, 0));
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    });
    mg_stop(impl_->context);
    stopped = true;
}

}  // namespace chorus
