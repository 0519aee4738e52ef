// What a webhook is sent to: an HTTP server on the loopback interface that answers as it is told, or not at all.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/descriptor.h"

namespace gatehouse::test {

class HttpTarget {
 public:
  struct Request {
    std::string head, body;
    // Of a header field, its name as we write it; empty: there is none.
    std::string field(const std::string& name) const {
      const std::string before = "\r\n" + name + ": ";
      const std::size_t at = head.find(before);
      if (at == std::string::npos) return {};
      return head.substr(at + before.size(), head.find('\r', at + before.size()) - at - before.size());
    }
  };
  // The status of the answer to the request of this number, from 0; 0: none is given, the connection stays open.
  using Answer = std::function<int(std::size_t number, const Request& request)>;

  explicit HttpTarget(Answer answer, std::uint16_t port = 0) : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    here.sin_port = htons(port);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t size = sizeof here;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpTarget() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      if (connection_ >= 0) ::shutdown(connection_, SHUT_RDWR);
    }
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  HttpTarget(const HttpTarget&) = delete;
  HttpTarget& operator=(const HttpTarget&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/results"; }
  std::uint16_t port() const { return port_; }
  // The requests so far, when there are so many.
  std::vector<Request> requests(std::size_t count) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return requests_.size() >= count; });
    return requests_;
  }
  // The requests so far, once they are enough.
  template <class Enough>
  std::vector<Request> requests_until(Enough enough) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [&] { return enough(requests_); });
    return requests_;
  }

 private:
  void serve() {
    for (;;) {
      const Descriptor one(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!one) return;
      {
        const std::lock_guard lock(mutex_);
        if (ending_) return;
        connection_ = one.get();
      }
      std::string text;
      while (take_request(one.get(), text)) {
      }
      const std::lock_guard lock(mutex_);
      connection_ = -1;
    }
  }
  bool more(int from, std::string& text) const {
    std::array<char, 65'536> buffer{};
    const ssize_t n = ::recv(from, buffer.data(), buffer.size(), 0);
    if (n > 0) text.append(buffer.data(), std::size_t(n));
    return n > 0;
  }
  bool take_request(int from, std::string& text) {
    std::size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos)
      if (!more(from, text)) return false;
    Request request{text.substr(0, end + 2), {}};
    const std::size_t size = std::stoul(request.field("Content-Length"));
    while (text.size() < end + 4 + size)
      if (!more(from, text)) return false;
    request.body = text.substr(end + 4, size);
    text.erase(0, end + 4 + size);
    std::size_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = requests_.size();
      requests_.push_back(request);
    }
    more_.notify_all();
    const int status = answer_(number, request);
    if (status == 0) {
      while (more(from, text)) {
      }
      return false;
    }
    const std::string answer = "HTTP/1.1 " + std::to_string(status) + " Said\r\nContent-Length: 2\r\n\r\nno";
    return ::send(from, answer.data(), answer.size(), MSG_NOSIGNAL) == ssize_t(answer.size());
  }

  const Answer answer_;
  const Descriptor listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<Request> requests_;  // guarded by mutex_
  int connection_ = -1;            // guarded by mutex_
  bool ending_ = false;            // guarded by mutex_
  std::thread thread_;
};

}  // namespace gatehouse::test
