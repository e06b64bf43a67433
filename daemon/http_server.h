#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "daemon/http_users.h"

namespace chorus {

struct HttpResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
};

/// How pages are kept from who may not see them.
struct HttpSecurity {
    std::string certificate_pem;  // certificates and their private key; empty: HTTP without TLS
    PasswordHashes users;         // empty: no password asked
    bool operator==(const HttpSecurity&) const = default;
};

/// A small HTTP server (libmicrohttpd, one thread of its own) of pages made by functions. GET and HEAD only.
class HttpServer {
  public:
    using Page = std::function<HttpResponse()>;

    /// `listen`: ADDRESS:PORT; port 0 takes a free one. Pages are called from the server's thread. With users, every
    /// page asks for a name and a password. Throws std::runtime_error naming the address.
    HttpServer(const std::string& listen, std::map<std::string, Page> pages, const HttpSecurity& security = {});
    /// Waits for requests under way.
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    int port() const { return port_; }

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    int port_ = 0;
};

}  // namespace chorus
