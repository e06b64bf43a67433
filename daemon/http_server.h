#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace chorus {

struct HttpResponse {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
};

/// A small HTTP server (CivetWeb, threads of its own) of pages made by functions. GET and HEAD only.
class HttpServer {
  public:
    using Page = std::function<HttpResponse()>;

    /// `listen`: ADDRESS:PORT; port 0 takes a free one. Pages are called from the server's threads, several at once.
    /// Throws std::runtime_error naming the address.
    HttpServer(const std::string& listen, std::map<std::string, Page> pages);
    /// Waits for requests under way.
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    int port() const { return port_; }

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    std::string host_;
    int port_ = 0;
};

}  // namespace chorus
