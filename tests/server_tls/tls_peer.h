// A TLS client that does what it likes: any version, cipher and certificate, half messages, silence, a reset.
#pragma once

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace gatehouse::test {

struct TlsWanted {
  int version = TLS1_3_VERSION;
  std::string ciphers;           // of TLS 1.2; empty: the library's
  std::string certificate, key;  // PEM; empty: none
  bool renegotiation = false;
  std::string from{};  // address; empty: any
  bool extended_master_secret = true;
};

class TlsPeer {
 public:
  // TCP only.
  explicit TlsPeer(std::uint16_t port, const std::string& from = {}) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (!from.empty() && (::inet_pton(AF_INET, from.c_str(), &address.sin_addr) != 1 ||
                          ::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0))
      return;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  TlsPeer(std::uint16_t port, const TlsWanted& wanted) : TlsPeer(port, wanted.from) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(context_, 0);  // old versions and weak ciphers are what some tests offer
    SSL_CTX_set_min_proto_version(context_, wanted.version);
    SSL_CTX_set_max_proto_version(context_, wanted.version);
    if (!wanted.extended_master_secret) SSL_CTX_set_options(context_, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (!wanted.ciphers.empty() && SSL_CTX_set_cipher_list(context_, wanted.ciphers.c_str()) != 1) return;
    if (!wanted.certificate.empty() && (SSL_CTX_use_certificate_chain_file(context_, wanted.certificate.c_str()) != 1 ||
                                        SSL_CTX_use_PrivateKey_file(context_, wanted.key.c_str(), SSL_FILETYPE_PEM) != 1))
      return;
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, fd_);
    SSL_set_tlsext_host_name(ssl_, "localhost");
    ERR_clear_error();
    good_ = SSL_connect(ssl_) == 1;
    if (!good_) error_ = last_error();
  }
  ~TlsPeer() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    if (fd_ >= 0) ::close(fd_);
  }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  int fd() const { return fd_; }
  bool connected() const { return connected_; }
  bool good() const { return good_; }
  const std::string& error() const { return error_; }
  std::string version() const { return SSL_get_version(ssl_); }
  std::string cipher() const { return SSL_get_cipher_name(ssl_); }
  SSL* ssl() { return ssl_; }
  std::string server_serial() {
    X509* const certificate = SSL_get0_peer_certificate(ssl_);
    return std::to_string(ASN1_INTEGER_get(X509_get0_serialNumber(certificate)));
  }

  void write_raw(Bytes bytes) { (void)!::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  bool write(Bytes bytes) {
    ERR_clear_error();
    return bytes.empty() || SSL_write(ssl_, bytes.data(), int(bytes.size())) == int(bytes.size());
  }
  // At least one byte; empty: the end, and error() says which.
  ByteVector read() {
    ByteVector out(65'536);
    ERR_clear_error();
    const int n = SSL_read(ssl_, out.data(), int(out.size()));
    if (n <= 0) error_ = SSL_get_error(ssl_, n) == SSL_ERROR_ZERO_RETURN ? "close_notify" : last_error();
    out.resize(n > 0 ? std::size_t(n) : 0);
    return out;
  }
  // Everything until the server's end.
  ByteVector read_all() {
    ByteVector out;
    for (ByteVector part = read(); !part.empty(); part = read()) out.insert(out.end(), part.begin(), part.end());
    return out;
  }
  // True when the server has ended a connection that never spoke TLS.
  bool ended_raw() {
    char c = 0;
    return ::recv(fd_, &c, 1, 0) <= 0;
  }
  // The description of the alert that the server sent in the clear; -1: something else came.
  int alert_raw() {
    unsigned char alert[7] = {};
    const bool whole = ::recv(fd_, alert, sizeof alert, MSG_WAITALL) == ssize_t(sizeof alert);
    return whole && alert[0] == SSL3_RT_ALERT ? alert[6] : -1;
  }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(fd_);
    fd_ = -1;
  }

 private:
  static std::string last_error() {
    const unsigned long code = ERR_peek_last_error();
    const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != nullptr ? reason : "the connection was cut";
  }
  int fd_ = -1;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  bool connected_ = false, good_ = false;
  std::string error_;
};

}  // namespace gatehouse::test
