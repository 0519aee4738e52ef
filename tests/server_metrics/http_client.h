// Requests to a metrics port, good and bad, over a socket on loopback.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

namespace gatehouse::test {

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~HttpClient() { ::close(fd_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  void say(std::string_view text) const { (void)!::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  void finish() const { ::shutdown(fd_, SHUT_WR); }
  // All that comes until the server ends the connection.
  std::string rest() const {
    std::string out;
    std::array<char, 4096> buffer{};
    for (ssize_t n; (n = ::recv(fd_, buffer.data(), buffer.size(), 0)) > 0;) out.append(buffer.data(), std::size_t(n));
    return out;
  }

 private:
  int fd_;
  bool connected_ = false;
};

inline std::string asked(std::uint16_t port, std::string_view request) {
  const HttpClient client(port);
  client.say(request);
  return client.rest();
}
inline std::string body_of(const std::string& response) {
  const std::size_t end = response.find("\r\n\r\n");
  return end == std::string::npos ? std::string() : response.substr(end + 4);
}
inline std::string scrape(std::uint16_t port) { return body_of(asked(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")); }

}  // namespace gatehouse::test
