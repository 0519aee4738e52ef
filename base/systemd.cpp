#include "base/systemd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace gatehouse::systemd {
namespace {

// An unsigned number and nothing else; nullopt: the variable isn't set, or is no number.
std::optional<std::uint64_t> number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  const std::string_view digits = text;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// What the manager says is for one process, not for those that it starts.
bool for_this_process(const char* variable) { return number_in(variable) == std::uint64_t(::getpid()); }

}  // namespace

void notify(std::string_view assignments) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  const std::string path = name == nullptr ? "" : name;
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract one
  const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return;
  const auto size = socklen_t(offsetof(sockaddr_un, sun_path) + path.size() + (path[0] == '@' ? 0 : 1));
  (void)::sendto(socket.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size);
}

void notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(std::uint64_t(now.tv_sec) * 1'000'000 + std::uint64_t(now.tv_nsec) / 1'000));
}

std::optional<std::chrono::microseconds> watchdog_interval() {
  const auto interval = number_in("WATCHDOG_USEC");
  if (!interval || *interval == 0 || *interval > std::uint64_t(INT64_MAX)) return std::nullopt;
  if (std::getenv("WATCHDOG_PID") != nullptr && !for_this_process("WATCHDOG_PID")) return std::nullopt;
  return std::chrono::microseconds(std::int64_t(*interval));
}

std::vector<Socket> passed_sockets() {
  constexpr int first = 3;
  constexpr std::uint64_t most = 1024;
  std::vector<Socket> out;
  const auto count = number_in("LISTEN_FDS");
  if (!for_this_process("LISTEN_PID") || !count || *count > most) return out;
  const char* const text = std::getenv("LISTEN_FDNAMES");
  std::string_view names = text == nullptr ? "" : text;
  for (int fd = first; fd < first + int(*count); ++fd) {
    const std::size_t end = std::min(names.find(':'), names.size());
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) out.push_back({Descriptor(fd), std::string(names.substr(0, end))});
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  return out;
}

}  // namespace gatehouse::systemd
