#include "server/tls/tls_stream.h"

#include <openssl/err.h>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/tls/tls_context.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using boost::system::error_code;

TlsStream::TlsStream(asio::ip::tcp::socket socket, SSL_CTX* context)
    : socket_(std::move(socket)), ssl_(SSL_new(context)) {
  if (!ssl_) return;
  error_code ignored;
  socket_.native_non_blocking(true, ignored);
  if (SSL_set_fd(ssl_.get(), int(socket_.native_handle())) != 1) {
    ssl_.reset();
    return;
  }
  SSL_set_accept_state(ssl_.get());
  // Otherwise each record is two reads: its head, and then the rest.
  SSL_set_read_ahead(ssl_.get(), 1);
}

void TlsStream::complete(Done done, TlsResult result, bool called) {
  if (!called) return done(std::move(result));
  asio::post(socket_.get_executor(), [open = open_, done = std::move(done), result = std::move(result)]() mutable {
    if (*open) done(std::move(result));
  });
}

// `called`: by who began the operation, and not by the executor.
void TlsStream::step(Attempt attempt, Done done, bool called) {
  if (!ssl_) return complete(std::move(done), {"TLS can't begin"}, called);
  ERR_clear_error();
  errno = 0;
  const int n = attempt();
  if (n > 0) return complete(std::move(done), {}, called);
  const int saved = errno;
  const int error = SSL_get_error(ssl_.get(), n);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    const auto what = error == SSL_ERROR_WANT_READ ? asio::socket_base::wait_read : asio::socket_base::wait_write;
    return socket_.async_wait(
        what, [this, open = open_, attempt = std::move(attempt), done = std::move(done)](error_code ec) mutable {
          if (!*open) return;
          if (ec) return done({ec.message()});
          step(std::move(attempt), std::move(done), false);
        });
  }
  std::string failure = error == SSL_ERROR_ZERO_RETURN ? std::string("the peer ended it") : tls_error();
  if (failure.empty()) failure = saved != 0 ? std::strerror(saved) : "the connection ended";
  complete(std::move(done), {std::move(failure)}, called);
}

void TlsStream::handshake(Done done) {
  step([ssl = ssl_.get()] { return SSL_do_handshake(ssl); }, std::move(done), true);
}

// A peer may be silent for hours: while there is nothing to be read, there is no memory to read it into.
int TlsStream::try_read() {
  constexpr std::size_t most = 16'384;  // of a record
  if (!in_) in_ = std::make_unique_for_overwrite<std::byte[]>(most);
  const int n = SSL_read(ssl_.get(), in_.get(), int(most));
  if (n > 0) in_size_ = std::size_t(n);
  else give_back();
  return n;
}

void TlsStream::give_back() {
  in_.reset();
  in_size_ = 0;
}

void TlsStream::read(Done done) {
  step([this] { return try_read(); }, std::move(done), true);
}

void TlsStream::read(Sink& sink, Done done) {
  const auto attempt = [ssl = ssl_.get(), &sink] {
    for (;;) {
      const std::span<std::byte> room = sink.room();
      const int n = SSL_read(ssl, room.data(), int(room.size()));
      if (n <= 0) {
        sink.wait();
        return n;
      }
      if (!sink.came(std::size_t(n))) return 1;
    }
  };
  step(attempt, std::move(done), true);
}

void TlsStream::write(Bytes all, Done done) {
  written_ = 0;
  const auto attempt = [this, all] {
    while (written_ < all.size()) {
      const Bytes rest = all.subspan(written_);
      const int n = SSL_write(ssl_.get(), rest.data(), int(rest.size()));
      if (n <= 0) return n;
      written_ += std::size_t(n);
    }
    return 1;
  };
  step(attempt, std::move(done), true);
}

void TlsStream::shut_down(Done done) {
  const auto attempt = [ssl = ssl_.get()] {
    // 0: ours is said, the peer's hasn't come.
    const int n = SSL_shutdown(ssl);
    return n == 0 ? SSL_shutdown(ssl) : n;
  };
  step(attempt, std::move(done), true);
}

void TlsStream::close() {
  *open_ = false;
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace gatehouse::server
