#include "endpoint/client/radius_link.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace gatehouse::endpoint {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int tries = 4;
constexpr double base = 1.4;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

std::unexpected<Error> failed(std::string_view why, const RadiusLinkOptions& o, std::string detail = {}) {
  return fail(Error{Fault::environment, why, {}, 0, o.host + ":" + o.port, std::move(detail)});
}

}  // namespace

RadiusLink::RadiusLink(RadiusLinkOptions options, int fd)
    : options_(std::move(options)), until_(Clock::now() + options_.deadline), fd_(fd) {}
RadiusLink::RadiusLink(RadiusLink&& other) noexcept
    : options_(std::move(other.options_)), until_(other.until_), fd_(std::exchange(other.fd_, -1)), repeated_(other.repeated_) {}
RadiusLink::~RadiusLink() {
  if (fd_ >= 0) ::close(fd_);
}

Result<RadiusLink> RadiusLink::open(const RadiusLinkOptions& o) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  if (const int code = ::getaddrinfo(o.host.c_str(), o.port.c_str(), &wanted, &list); code != 0)
    return failed("can't resolve the server", o, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(list);
  std::string last;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    // Connected: datagrams of others don't reach us, and a port that nobody listens on is told.
    if (fd >= 0 && ::connect(fd, a->ai_addr, a->ai_addrlen) == 0) return RadiusLink(o, fd);
    last = std::generic_category().message(errno);
    if (fd >= 0) ::close(fd);
  }
  return failed("can't reach the server", o, last);
}

Result<RadiusGateway::Answer> RadiusLink::exchange(RadiusGateway& gateway, Bytes eap) {
  GH_TRY(const ByteVector request, gateway.request(eap));
  std::chrono::duration<double> wait = options_.first_wait;
  std::array<std::byte, radius::max_packet + 1> buffer{};
  bool refused = false;  // by the host, the last time: nobody has this port
  for (int n = 0; n < tries; ++n, wait *= base) {
    repeated_ += n == 0 ? 0 : 1;
    refused = false;
    const bool sent = ::send(fd_, request.data(), request.size(), 0) >= 0;
    if (!sent && errno == ECONNREFUSED) refused = true;
    else if (!sent)
      return failed("can't send", options_, std::generic_category().message(errno));
    const auto until = std::min(until_, Clock::now() + std::chrono::duration_cast<Clock::duration>(wait));
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      if (left.count() <= 0) break;
      std::array<pollfd, 2> p{pollfd{fd_, POLLIN, 0}, pollfd{options_.stop_fd, POLLIN, 0}};
      if (::poll(p.data(), p.size(), int(left.count())) < 0 && errno != EINTR) return fail_errno("poll failed", options_.host);
      if (p[1].revents != 0) return failed("told to stop", options_);
      if (p[0].revents == 0) continue;
      const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
      if (size < 0 && errno == ECONNREFUSED) {
        refused = true;
        continue;
      }
      if (size < 0) return failed("can't receive", options_, std::generic_category().message(errno));
      if (auto answer = gateway.receive(Bytes(buffer.data(), std::size_t(size)))) return *std::move(answer);
    }
    if (Clock::now() >= until_ && !refused) return failed("the assessment takes too long", options_);
    if (Clock::now() >= until_) break;
  }
  if (refused) return failed("nobody listens there", options_);
  return failed("no answer: is the shared secret right, and may this address ask?", options_);
}

}  // namespace gatehouse::endpoint
