#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bench/roofline/primitives.h"
#include "bench/roofline/tls_pair.h"

namespace gatehouse::bench {
namespace {

struct Exchange {
  std::size_t from_client, from_server;  // bytes
};
// PT-TLS messages of the recorded conversation "mutual-tls-rsa": version, batches, and the last one, which nothing answers.
constexpr Exchange exchanges[] = {{20, 36},    {318, 268},  {22'693, 104}, {144, 172},  {375, 105},
                                  {65'508, 8}, {65'440, 8}, {65'432, 8},   {54'533, 88}, {8, 0}};
constexpr std::size_t largest = 65'536;

// One end of one connection; it is asked to go on whenever its socket is ready.
class End {
 public:
  enum class Wait { read, write, over };
  End(SSL_CTX* context, int fd, bool server, int times) : server_(server), fd_(fd), left_(times), ssl_(SSL_new(context)), buffer_(largest) {
    const int on = 1;
    must(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && SSL_set_fd(ssl_, fd) == 1, "connection");
    server ? SSL_set_accept_state(ssl_) : SSL_set_connect_state(ssl_);
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  ~End() {
    SSL_free(ssl_);
    ::close(fd_);
  }
  // Over: the conversations are.
  Wait go_on() {
    for (;;) {
      if (step_ == std::size(exchanges)) {
        ++ended;
        if (--left_ == 0) {
          SSL_shutdown(ssl_);
          return Wait::over;
        }
        step_ = 1;  // the version is agreed on
      }
      const Exchange& e = exchanges[step_];
      const bool reads = server_ == !answering_;
      const std::size_t size = answering_ ? e.from_server : e.from_client;
      if (done_ == size) {
        done_ = 0;
        if (answering_) ++step_;
        answering_ = !answering_;
        continue;
      }
      const int n = reads ? SSL_read(ssl_, buffer_.data(), int(size - done_)) : SSL_write(ssl_, buffer_.data(), int(size - done_));
      if (n > 0) {
        done_ += std::size_t(n);
        continue;
      }
      const int why = SSL_get_error(ssl_, n);
      must(why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE, "TLS conversation");
      return why == SSL_ERROR_WANT_READ ? Wait::read : Wait::write;
    }
  }

  std::size_t ended = 0;  // conversations
  bool writes = false;    // what is waited for

 private:
  const bool server_;
  const int fd_;
  int left_;
  SSL* const ssl_;
  std::vector<char> buffer_;
  std::size_t step_ = 0, done_ = 0;
  bool answering_ = false;
};

// Ends of one side, each waited for by its socket.
class Side {
 public:
  Side(SSL_CTX* context, bool server, int times) : context_(context), server_(server), times_(times), poll_(::epoll_create1(EPOLL_CLOEXEC)) {
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  ~Side() { ::close(poll_); }
  void listen(int fd) { watch(EPOLL_CTL_ADD, fd, EPOLLIN); }
  void add(int fd) {
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    ends_.try_emplace(fd, context_, fd, server_, times_);
    go_on(fd);
  }
  // `ready`: of the listening socket.
  template <class Ready>
  void wait(int listening, Ready&& ready) {
    epoll_event events[64];
    const int n = ::epoll_wait(poll_, events, std::size(events), -1);
    for (int i = 0; i < n; ++i) events[i].data.fd == listening ? ready() : go_on(events[i].data.fd);
  }
  std::size_t open() const { return ends_.size(); }

  std::size_t ended = 0;  // conversations

 private:
  void watch(int how, int fd, std::uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    must(::epoll_ctl(poll_, how, fd, &event) == 0, "epoll");
  }
  void go_on(int fd) {
    const auto at = ends_.find(fd);
    if (at == ends_.end()) return;
    const std::size_t before = at->second.ended;
    const End::Wait wait = at->second.go_on();
    ended += at->second.ended - before;
    if (wait == End::Wait::over) ends_.erase(at);
    else if ((wait == End::Wait::write) != at->second.writes) watch(EPOLL_CTL_MOD, fd, (at->second.writes = !at->second.writes) ? EPOLLOUT : EPOLLIN);
  }

  SSL_CTX* const context_;
  const bool server_;
  const int times_;
  const int poll_;
  std::unordered_map<int, End> ends_;
};

}  // namespace

double measure_transport(const Workload& w, std::size_t conversations, std::size_t at_once) {
  std::signal(SIGPIPE, SIG_IGN);  // who is through closes, while the other side may still say so
  const TlsPair pair(w.mutual);
  const int times = w.kept ? int(std::max<std::size_t>(conversations / at_once, 2)) : 1;
  if (w.kept) conversations = std::size_t(times) * at_once;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  must(listening >= 0 && ::bind(listening, any, sizeof address) == 0 && ::listen(listening, 128) == 0 && ::getsockname(listening, any, &length) == 0, "listening socket");

  double spent = 0;
  std::thread server([&] {
    Side side(pair.server, true, times);
    side.listen(listening);
    // What isn't counted: handshakes of kept connections, and what is made once.
    const std::size_t first = w.kept ? at_once : conversations / 10;
    double start = 0;
    while (side.ended < conversations) {
      side.wait(listening, [&] {
        for (int fd; (fd = ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) side.add(fd);
      });
      if (start == 0 && side.ended >= first) {
        start = thread_cpu_us();
        spent = double(side.ended);
      }
    }
    spent = (thread_cpu_us() - start) / (double(side.ended) - spent);
  });
  Side side(pair.client, false, times);
  for (std::size_t begun = 0; side.ended < conversations;) {
    for (; begun * std::size_t(times) < conversations && side.open() < at_once; ++begun) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      must(fd >= 0 && ::connect(fd, any, sizeof address) == 0, "connection");
      const int on = 1;
      must(::ioctl(fd, FIONBIO, &on) == 0, "connection");
      side.add(fd);
    }
    if (side.open() != 0) side.wait(-1, [] {});
  }
  server.join();
  ::close(listening);
  return spent;
}

}  // namespace gatehouse::bench
