#include "server/results/syslog.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/log.h"

namespace gatehouse::server {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t most_message = 2048, most_value = 256;
constexpr std::size_t most_waiting_bytes = std::size_t(64) << 20;
constexpr Milliseconds patience(5000), between_attempts(1000), at_the_end(2000);

// Not in the middle of a character.
std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  return text.substr(0, most);
}

// RFC 5424 section 6.3.3: PARAM-VALUE.
void add(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out.append(" ").append(name).append("=\"");
  for (const char c : cut(value, most_value)) {
    if (c == '"' || c == '\\' || c == ']') out += '\\';
    out += c;
  }
  out += '"';
}

// Header fields are printable ASCII; "-" stands for none.
std::string header_field(std::string_view text, std::size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out)
    if (c <= ' ' || c >= 0x7F) c = '_';
  return out.empty() ? "-" : out;
}

unsigned severity(std::string_view recommendation) {
  return recommendation == "allow" ? 6 : recommendation == "isolate" || recommendation == "block" ? 4 : 3;
}

// TCP says with its acknowledgements alone that a receiver is gone, and not before the next message: a socket that was
// closed at the other end is looked at before it is used.
bool hung_up(int fd) {
  char c = 0;
  const ssize_t n = ::recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address address_of(const std::string& target) {
  Address out;
  if (target.starts_with("unix:")) {
    auto* const local = reinterpret_cast<sockaddr_un*>(&out.storage);
    local->sun_family = AF_UNIX;
    target.copy(local->sun_path, sizeof local->sun_path - 1, 5);
    out.size = sizeof *local;
    return out;
  }
  const std::size_t colon = target.rfind(':');
  std::string host = target.substr(4, colon - 4);
  const auto port = htons(std::uint16_t(std::stoul(target.substr(colon + 1))));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  auto* const four = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* const six = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = port;
    out.size = sizeof *four;
  } else {
    ::inet_pton(AF_INET6, host.c_str(), &six->sin6_addr);
    six->sin6_family = AF_INET6;
    six->sin6_port = port;
    out.size = sizeof *six;
  }
  return out;
}

}  // namespace

std::string syslog_message(const ResultFields& f, unsigned facility, std::string_view host, std::string_view process) {
  std::string out = "<" + std::to_string(facility * 8 + severity(f.recommendation)) + ">1 " + header_field(f.finished, 32) + ' ' +
                    header_field(host, 255) + " gatehouse " + header_field(process, 128) + " result [gatehouse@32473";
  add(out, "session", f.session);
  add(out, "device", f.device);
  add(out, "recommendation", f.recommendation);
  add(out, "evaluation", f.evaluation);
  if (f.told != f.recommendation) add(out, "told", f.told);
  add(out, "product", f.product);
  add(out, "identity", f.identity);
  add(out, "peer", f.peer);
  add(out, "policy", f.policy);
  add(out, "generation", f.generation);
  // The text is UTF-8, which a byte order mark says (section 6.4).
  out += "] \xEF\xBB\xBF" + f.recommendation + ": " + f.summary;
  return std::string(cut(out, most_message));
}

struct Syslog::Impl {
  explicit Impl(SyslogOptions o) : options(std::move(o)), waiting(options.most_waiting, most_waiting_bytes), address(address_of(options.target)) {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) == 0) host = name.data();
  }

  const SyslogOptions options;
  WaitingLines waiting;
  const Address address;
  std::string host;
  std::atomic<std::uint64_t> delivered{0}, failed{0}, left_out{0};
  Descriptor socket;                      // of the thread; none: not connected
  bool stream = false, broken = false;    // of the thread
  Clock::time_point deadline = Clock::time_point::max();  // of the thread: the server ends
  std::thread thread;

  void run();
  Result<void> connect();
  Result<void> send(const std::string& message);
  // False: the time is over.
  bool wait_for(int fd, short events, Milliseconds most);
  void pause();
  void note_end() {
    if (deadline == Clock::time_point::max() && waiting.closing()) deadline = Clock::now() + at_the_end;
  }
};

bool Syslog::Impl::wait_for(int fd, short events, Milliseconds most) {
  const auto until = Clock::now() + most;
  for (;;) {
    note_end();
    const auto left = std::chrono::ceil<Milliseconds>(std::min(until, deadline) - Clock::now());
    if (left.count() <= 0) return false;
    std::array<pollfd, 2> wait{{{fd, events, 0}, {deadline == Clock::time_point::max() ? waiting.closed() : -1, POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), int(left.count())) < 0 && errno != EINTR) return false;
    if (wait[0].revents != 0) return true;
  }
}

void Syslog::Impl::pause() { wait_for(-1, 0, between_attempts); }

// /dev/log takes datagrams from most services, and streams from some.
Result<void> Syslog::Impl::connect() {
  const bool local = options.target.starts_with("unix:");
  stream = options.target.starts_with("tcp:");
  for (;;) {
    Descriptor fd(::socket(address.storage.ss_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("can't make a socket", options.target);
    int error = 0;
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) error = errno;
    if (error == EINPROGRESS) {
      if (!wait_for(fd.get(), POLLOUT, patience)) error = ETIMEDOUT;
      else if (socklen_t size = sizeof error; ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
    if (error == 0) {
      socket = std::move(fd);
      return {};
    }
    if (local && error == EPROTOTYPE && !stream) {
      stream = true;
      continue;
    }
    errno = error;
    return fail_errno("syslog can't be reached", options.target);
  }
}

Result<void> Syslog::Impl::send(const std::string& message) {
  const bool local = options.target.starts_with("unix:");
  if (socket && stream && hung_up(socket.get())) socket = Descriptor();
  if (!socket) GH_CHECK(connect());
  // Octet counting on TCP; a local stream's messages end with a zero, as syslog(3) ends them.
  const std::string framed = !stream ? message : local ? message + '\0' : std::to_string(message.size()) + ' ' + message;
  const auto until = Clock::now() + patience;
  for (std::string_view rest = framed; !rest.empty();) {
    const ssize_t n = ::send(socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      rest.remove_prefix(std::size_t(n));
      continue;
    }
    if (errno == EINTR) continue;
    const bool full = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
    if (full && Clock::now() < until && wait_for(socket.get(), POLLOUT, std::chrono::duration_cast<Milliseconds>(until - Clock::now()))) continue;
    if (full) errno = ETIMEDOUT;
    const auto error = fail_errno("syslog doesn't take a message", options.target);
    socket = Descriptor();  // of a message that was cut off the rest must not follow another one's
    return error;
  }
  return {};
}

void Syslog::Impl::run() {
  const std::string process = std::to_string(::getpid());
  while (const ResultLine line = waiting.next()) {
    note_end();
    const auto fields = result_fields(*line);
    if (!fields) {
      log::write(log::Level::error, {}, fields.error().text());
      failed.fetch_add(1, std::memory_order_relaxed);
      waiting.pop();
      continue;
    }
    if (Clock::now() >= deadline) {
      left_out.fetch_add(1, std::memory_order_relaxed);
      waiting.pop();
      continue;
    }
    const auto done = send(syslog_message(*fields, options.facility, host, process));
    if (!done) {
      // ECONNREFUSED of a datagram socket is about the message before: whoever is back takes this one.
      if (!broken) log::write(log::Level::error, {}, done.error().text() + "; results wait");
      broken = true;
      failed.fetch_add(1, std::memory_order_relaxed);
      pause();
      continue;
    }
    if (broken) log::write(log::Level::info, {}, "syslog takes results again");
    broken = false;
    delivered.fetch_add(1, std::memory_order_relaxed);
    waiting.pop();
  }
}

std::unique_ptr<Syslog> Syslog::open(SyslogOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<Syslog>(new Syslog(std::move(impl)));
}
Syslog::Syslog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Syslog::~Syslog() {
  impl_->waiting.close();
  impl_->thread.join();
}
void Syslog::publish(ResultLine line) {
  if (!impl_->waiting.push(std::move(line))) impl_->left_out.fetch_add(1, std::memory_order_relaxed);
}
DeliveryCounts Syslog::counts() const {
  return {.delivered = impl_->delivered, .failed = impl_->failed, .left_out = impl_->left_out, .waiting = impl_->waiting.size()};
}

}  // namespace gatehouse::server
