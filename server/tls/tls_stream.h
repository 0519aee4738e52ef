// TLS on a connected socket. OpenSSL reads and writes the socket itself; the executor only waits until it may: what comes
// is decrypted where it is read, and a connection that waits holds no buffers.
//
//   TlsStream stream(std::move(socket), context);
//   stream.handshake([](TlsResult r) { … });
//   stream.read([](TlsResult r) { … stream.received() … });
//
// All calls and completions are on the socket's executor, a strand; completions come after the call has returned, each
// once, unless the stream was closed. One read and one write may be under way; what is written stays where it is until
// its completion.
#pragma once

#include <openssl/ssl.h>

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace gatehouse::server {

struct TlsResult {
  std::string failure;  // without secrets; empty: it succeeded
};

// Where what comes is written.
class Sink {
 public:
  virtual std::span<std::byte> room() = 0;   // at least a byte, less than 2 GiB
  virtual bool came(std::size_t bytes) = 0;  // true: the read goes on
  virtual void wait() = 0;                   // nothing more is there for now

 protected:
  ~Sink() = default;
};

class TlsStream {
 public:
  using Done = std::move_only_function<void(TlsResult)>;
  TlsStream(boost::asio::ip::tcp::socket socket, SSL_CTX* context);
  SSL* native() const { return ssl_.get(); }
  // For what isn't TLS.
  boost::asio::ip::tcp::socket& socket() { return socket_; }

  void handshake(Done done);  // as the server
  // Until the sink has what it wants.
  void read(Sink& sink, Done done);
  void read(Done done);
  // What that brought; until the next one.
  Bytes received() const { return {in_.get(), in_size_}; }
  void write(Bytes all, Done done);
  // Says the end, and waits for the peer's.
  void shut_down(Done done);
  // Nothing is completed from now on.
  void close();

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  // One try of an operation: above 0 is its success.
  using Attempt = std::move_only_function<int()>;
  void step(Attempt attempt, Done done, bool called);
  void complete(Done done, TlsResult result, bool called);
  int try_read();
  void give_back();

  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<SSL, Free> ssl_;
  std::unique_ptr<std::byte[]> in_;  // null while nothing is there to be read
  std::size_t in_size_ = 0;
  std::size_t written_ = 0;          // of the write that is under way
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
};

}  // namespace gatehouse::server
