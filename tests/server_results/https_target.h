// What a webhook is sent to over TLS: an HTTPS server on a loopback address with the certificate that the test gives it.
#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "tests/server_results/http_target.h"

namespace gatehouse::test {

class HttpsTarget {
 public:
  struct Wanted {
    std::string certificate, key;         // PEM files; the chain behind the certificate
    std::string address = "127.0.0.1";
    int newest = TLS1_3_VERSION;          // no newer version is spoken
    std::uint16_t port = 0;
  };
  explicit HttpsTarget(const Wanted& wanted) : address_(wanted.address), context_(SSL_CTX_new(TLS_server_method())),
                                               listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    SSL_CTX_set_max_proto_version(context_.get(), wanted.newest);
    // Old versions at all: what refuses them has to be the other side.
    if (wanted.newest < TLS1_2_VERSION) SSL_CTX_set_cipher_list(context_.get(), "DEFAULT@SECLEVEL=0");
    if (wanted.newest < TLS1_2_VERSION) SSL_CTX_set_min_proto_version(context_.get(), wanted.newest);
    EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_.get(), wanted.certificate.c_str()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_.get(), wanted.key.c_str(), SSL_FILETYPE_PEM), 1);
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    EXPECT_EQ(::inet_pton(AF_INET, address_.c_str(), &here.sin_addr), 1);
    here.sin_port = htons(wanted.port);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t size = sizeof here;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpsTarget() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      if (connection_ >= 0) ::shutdown(connection_, SHUT_RDWR);
    }
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  HttpsTarget(const HttpsTarget&) = delete;
  HttpsTarget& operator=(const HttpsTarget&) = delete;

  std::string url() const { return "https://" + address_ + ":" + std::to_string(port_) + "/results"; }
  std::uint16_t port() const { return port_; }
  // The requests so far, when there are so many; each was answered with 200.
  std::vector<HttpTarget::Request> requests(std::size_t count) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return requests_.size() >= count; });
    return requests_;
  }
  // Handshakes that came to nothing, when there are so many.
  std::size_t failed_handshakes(std::size_t count) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return failed_ >= count; });
    return failed_;
  }
  // That was spoken last: "TLSv1.3".
  std::string version() {
    const std::lock_guard lock(mutex_);
    return version_;
  }

 private:
  struct Free {
    void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
    void operator()(SSL* s) const { SSL_free(s); }
  };
  using Ssl = std::unique_ptr<SSL, Free>;

  void serve() {
    for (;;) {
      const Descriptor one(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!one) return;
      {
        const std::lock_guard lock(mutex_);
        if (ending_) return;
        connection_ = one.get();
      }
      const Ssl ssl(SSL_new(context_.get()));
      SSL_set_fd(ssl.get(), one.get());
      const bool good = SSL_accept(ssl.get()) == 1;
      std::string text;
      // Of TLS 1.3 the client's refusal comes behind the handshake.
      bool said = false;
      while (good && take_request(ssl.get(), text)) said = true;
      const std::lock_guard lock(mutex_);
      connection_ = -1;
      if (!said) ++failed_;
      more_.notify_all();
    }
  }
  static bool more(SSL* from, std::string& text) {
    std::array<char, 16'384> buffer{};
    const int n = SSL_read(from, buffer.data(), int(buffer.size()));
    if (n > 0) text.append(buffer.data(), std::size_t(n));
    return n > 0;
  }
  bool take_request(SSL* from, std::string& text) {
    std::size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos)
      if (!more(from, text)) return false;
    HttpTarget::Request request{text.substr(0, end + 2), {}};
    const std::size_t size = std::stoul(request.field("Content-Length"));
    while (text.size() < end + 4 + size)
      if (!more(from, text)) return false;
    request.body = text.substr(end + 4, size);
    text.erase(0, end + 4 + size);
    const std::string answer = "HTTP/1.1 200 Said\r\nContent-Length: 2\r\n\r\nno";
    const bool told = SSL_write(from, answer.data(), int(answer.size())) == int(answer.size());
    const std::lock_guard lock(mutex_);
    version_ = SSL_get_version(from);
    requests_.push_back(std::move(request));
    more_.notify_all();
    return told;
  }

  const std::string address_;
  const std::unique_ptr<SSL_CTX, Free> context_;
  const Descriptor listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<HttpTarget::Request> requests_;  // guarded by mutex_
  std::size_t failed_ = 0;                     // guarded by mutex_
  std::string version_;                        // guarded by mutex_
  int connection_ = -1;                        // guarded by mutex_
  bool ending_ = false;                        // guarded by mutex_
  std::thread thread_;
};

}  // namespace gatehouse::test
