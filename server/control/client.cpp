#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

#include "server/control/address.h"
#include "server/control/control.h"

namespace gatehouse::server {

Result<ControlClient> ControlClient::connect(const std::string& path) {
  GH_TRY(const SocketAddress address, SocketAddress::of(path));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno("no socket", path);
  ControlClient client(fd);
  // A server that hangs must not hang its operator.
  const timeval patience{.tv_sec = 60, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd, address.get(), SocketAddress::size) != 0) return fail_errno("can't connect to the control socket", path);
  return client;
}

ControlClient::~ControlClient() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> ControlClient::ask(std::string_view request) {
  if (request.find('\n') != std::string_view::npos) return fail(Fault::internal, "a request is one line");
  if (request.size() > max_request_bytes) return fail(Fault::limit, "request larger than 4 MiB", "docs/formats/control.md");
  const std::string line = std::string(request) + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("can't send", "control socket");
    sent += std::size_t(n);
  }
  std::string response;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = response.find('\n', searched);
    if (end != std::string::npos) {
      response.resize(end);
      return response;
    }
    searched = response.size();
    if (searched > max_response_bytes) return fail(Fault::limit, "the server's answer is too long", "docs/formats/control.md");
    char buffer[65536];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("no answer", "control socket");
    if (n == 0) return fail(Fault::environment, "the server closed the control connection");
    response.append(buffer, std::size_t(n));
  }
}

}  // namespace gatehouse::server
