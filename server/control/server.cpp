#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio.hpp>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "server/control/address.h"
#include "server/control/control.h"

namespace gatehouse::server {
namespace {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;
constexpr std::size_t max_connections = 64;

// The server's own user and root: what the socket's mode says, also where the folder's owner changed it.
bool may_command(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace

struct ControlServer::Impl {
  // One operator's connection: reads a line, answers it, reads the next.
  class Connection : public std::enable_shared_from_this<Connection> {
   public:
    Connection(Impl& server, Local::socket socket)
        : server_(server), socket_(std::move(socket)), timer_(server.context_) {}
    void start() {
      server_.connections_.insert(shared_from_this());
      read();
    }
    void close() {
      boost::system::error_code ignored;
      timer_.cancel();
      socket_.close(ignored);
      server_.connections_.erase(shared_from_this());
    }

   private:
    // A deadline for the next whole request or response.
    void wait() {
      timer_.expires_after(server_.silence_);
      timer_.async_wait([self = shared_from_this()](boost::system::error_code code) {
        if (!code) self->close();
      });
    }
    void read() {
      wait();
      asio::async_read_until(socket_, asio::dynamic_buffer(buffer_, max_request_bytes + 1), '\n',
                             [self = shared_from_this()](boost::system::error_code code, std::size_t size) {
                               self->on_line(code, size);
                             });
    }
    void on_line(boost::system::error_code code, std::size_t size) {
      timer_.cancel();
      if (!socket_.is_open()) return;
      if (code == asio::error::not_found) {  // the buffer is full and has no line end
        answer(R"({"error":{"fault":"limit exceeded","reason":"request larger than 4 MiB"}})", true);
        return;
      }
      if (code) {
        close();
        return;
      }
      const std::string response = server_.handler_(std::string_view(buffer_).substr(0, size - 1));
      buffer_.erase(0, size);
      answer(response, false);
    }
    void answer(const std::string& response, bool last) {
      response_ = response.size() <= max_response_bytes
                      ? response
                      : R"({"error":{"fault":"limit exceeded","reason":"the answer is larger than 64 MiB"}})";
      response_ += '\n';
      wait();
      asio::async_write(socket_, asio::buffer(response_),
                        [self = shared_from_this(), last](boost::system::error_code code, std::size_t) {
                          self->timer_.cancel();
                          if (!self->socket_.is_open()) return;
                          if (code || last)
                            self->close();
                          else
                            self->read();
                        });
    }

    Impl& server_;
    Local::socket socket_;
    asio::steady_timer timer_;
    std::string buffer_, response_;
  };

  Impl(std::string path, Handler handler, std::chrono::milliseconds silence)
      : path_(std::move(path)), handler_(std::move(handler)), silence_(silence), acceptor_(context_) {}

  Result<void> listen();
  void accept();

  std::string path_;
  Handler handler_;
  std::chrono::milliseconds silence_;
  asio::io_context context_{1};
  Local::acceptor acceptor_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;  // of the control thread
  std::thread thread_;
};

Result<void> ControlServer::Impl::listen() {
  GH_TRY(const SocketAddress address, SocketAddress::of(path_));
  struct stat st {};
  if (::lstat(path_.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode))
      return fail(Error{Fault::environment, "in the control socket's place is something else", {}, 0, path_, {}});
    if (ControlClient::connect(path_))
      return fail(Error{Fault::environment, "another server listens on the control socket", {}, 0, path_, {}});
    if (::unlink(path_.c_str()) != 0) return fail_errno("can't remove the old control socket", path_);
  }
  boost::system::error_code code;
  acceptor_.open(Local(), code);
  if (code) return fail(Error{Fault::environment, "no control socket", {}, 0, path_, code.message()});
  const int fd = acceptor_.native_handle();
  // Before it is bound: the socket file is made with this mode, so nobody else can connect in between.
  if (::fchmod(fd, 0600) != 0 || ::bind(fd, address.get(), SocketAddress::size) != 0 ||
      ::chmod(path_.c_str(), 0600) != 0 || ::listen(fd, 16) != 0)
    return fail_errno("can't listen on the control socket", path_);
  return {};
}

void ControlServer::Impl::accept() {
  acceptor_.async_accept([this](boost::system::error_code code, Local::socket socket) {
    if (code == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!code && connections_.size() < max_connections && may_command(socket.native_handle()))
      std::make_shared<Connection>(*this, std::move(socket))->start();
    accept();
  });
}

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path, Handler handler,
                                                            std::chrono::milliseconds silence) {
  auto impl = std::make_unique<Impl>(path, std::move(handler), silence);
  GH_CHECK(impl->listen());
  impl->accept();
  impl->thread_ = std::thread([raw = impl.get()] { raw->context_.run(); });
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

ControlServer::~ControlServer() {
  asio::post(impl_->context_, [this] {
    boost::system::error_code ignored;
    impl_->acceptor_.close(ignored);
    const auto connections = impl_->connections_;
    for (const auto& connection : connections) connection->close();
  });
  impl_->thread_.join();
  ::unlink(impl_->path_.c_str());
}

}  // namespace gatehouse::server
