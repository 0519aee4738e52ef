// A PT-TLS server for one connection that negotiates as it should and then answers the client's first batch with what a
// test gives it; what the client says to that is kept.
#pragma once

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "wire/pttls/pttls.h"

namespace gatehouse::test {

class WrongServer {
 public:
  WrongServer(const std::string& certificate, const std::string& key, ByteVector batch) : batch_(std::move(batch)) {
    context_ = SSL_CTX_new(TLS_server_method());
    EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, certificate.c_str()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM), 1);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~WrongServer() {
    ::shutdown(listener_, SHUT_RDWR);  // nobody came
    if (thread_.joinable()) thread_.join();
    ::close(listener_);
    SSL_CTX_free(context_);
  }
  WrongServer(const WrongServer&) = delete;
  WrongServer& operator=(const WrongServer&) = delete;

  std::uint16_t port() const { return port_; }
  // The client's batches in order, once it has closed.
  std::vector<ByteVector> batches() {
    thread_.join();
    return batches_;
  }

 private:
  void run() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    SSL* const ssl = SSL_new(context_);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) serve(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    ::close(fd);
  }
  void serve(SSL* ssl) {
    pttls::Framer framer;
    std::uint32_t identifier = 0;
    const auto say = [&](pttls::Type type, Bytes value) {
      Writer w;
      pttls::append_message(w, type, identifier++, value);
      (void)SSL_write(ssl, w.view().data(), int(w.view().size()));
    };
    ByteVector buffer(65'536);
    for (int n; (n = SSL_read(ssl, buffer.data(), int(buffer.size()))) > 0;) {
      framer.feed(Bytes(buffer).first(std::size_t(n)));
      for (;;) {
        const auto message = framer.next();
        if (!message || *message == nullptr) break;
        if ((*message)->header.kind() == pttls::Type::version_request) {
          Writer version;
          pttls::append_version_response(version, 1);
          say(pttls::Type::version_response, version.view());
          say(pttls::Type::sasl_mechanisms, {});
        } else if ((*message)->header.kind() == pttls::Type::pb_tnc_batch) {
          batches_.push_back(to_vector((*message)->value));
          if (batches_.size() == 1) say(pttls::Type::pb_tnc_batch, batch_);
        }
      }
    }
  }

  ByteVector batch_;
  std::vector<ByteVector> batches_;  // the thread's until it has ended
  SSL_CTX* context_ = nullptr;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace gatehouse::test
