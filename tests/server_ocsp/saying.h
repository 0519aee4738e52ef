// A server that takes connections and says the same to each, or nothing.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gatehouse::test {

class Saying {
 public:
  explicit Saying(std::string what) : what_(std::move(what)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 64), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      std::vector<int> open;
      for (int fd; (fd = ::accept(listener_, nullptr, nullptr)) >= 0;) {
        ++connections;
        open.push_back(fd);
        std::string what;
        {
          const std::lock_guard lock(mutex_);
          what = what_;
        }
        if (what.empty()) continue;
        char buffer[4096];
        (void)::recv(fd, buffer, sizeof buffer, 0);
        (void)::send(fd, what.data(), what.size(), MSG_NOSIGNAL);
        ::shutdown(fd, SHUT_WR);
      }
      for (const int fd : open) ::close(fd);
    });
  }
  ~Saying() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  // From now on.
  void say(std::string what) {
    const std::lock_guard lock(mutex_);
    what_ = std::move(what);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::atomic<int> connections{0};

 private:
  std::mutex mutex_;
  std::string what_;  // guarded by mutex_
  int listener_;
  int port_ = 0;
  std::thread thread_;
};

// An HTTP response with this body.
inline std::string http_ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace gatehouse::test
