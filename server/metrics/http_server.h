// The metrics port: GET and HEAD of /metrics, /healthz and /readyz over HTTP/1, nothing else. What comes in is hostile: at most 8 KiB of request
// head and no body, five seconds for all of it, sixteen connections, one request each. It has a thread of its own, so that
// nobody who asks keeps a session waiting.
//
//   GH_TRY(auto port, HttpServer::start(endpoint, [] { return exposition(…); }));
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"

namespace gatehouse::server::metrics {

class HttpServer {
 public:
  // The text of /metrics; called on this server's thread.
  using Body = std::function<std::string()>;
  // What is wrong; empty: nothing. /healthz (should the process be started anew?) and /readyz (may others be sent to it?)
  // answer 200 "ok" or 503 and the reason.
  using Check = std::function<std::string()>;
  struct Checks {
    Check healthy, ready;  // empty: always
  };

  // `address`: an IP address.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& address, std::uint16_t port, Body body, Checks checks = {},
                                                   std::chrono::milliseconds patience = std::chrono::seconds(5));
  ~HttpServer();  // ends its thread
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server::metrics
