#include "endpoint/service/events.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <map>

namespace gatehouse::endpoint {
namespace {

// dpkg writes beside and renames; rpm's database is written in place, and our own reading of it must not count.
constexpr std::uint32_t file_mask = IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE;
constexpr std::uint32_t folder_mask = IN_MOVED_TO | IN_MODIFY;

Result<int> signals(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (const int one : numbers) sigaddset(&set, one);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno("can't block signals", "signals");
  const int fd = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return fail_errno("can't read signals", "signals");
  return fd;
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

}  // namespace

struct Events::State {
  int stop = -1, wake = -1, watch = -1, all = -1;
  std::map<int, std::vector<std::string>> names;  // by watch: files that count; none: all do

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    for (const int fd : {all, watch, wake, stop})
      if (fd >= 0) ::close(fd);
  }
  Result<void> add(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(all, EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("can't wait for events", "epoll");
    return {};
  }
  bool counts(const inotify_event& event) const {
    if ((event.mask & IN_Q_OVERFLOW) != 0) return true;
    const auto watched = names.find(event.wd);
    if (watched == names.end()) return false;
    if (watched->second.empty()) return true;
    const std::string_view name(event.name, event.len == 0 ? 0 : ::strnlen(event.name, event.len));
    return std::find(watched->second.begin(), watched->second.end(), name) != watched->second.end();
  }
  bool read_watch() const;
};

bool Events::State::read_watch() const {
  bool out = false;
  alignas(inotify_event) std::array<char, 16'384> buffer;
  for (ssize_t n; (n = ::read(watch, buffer.data(), buffer.size())) > 0;)
    for (std::size_t at = 0; at + sizeof(inotify_event) <= std::size_t(n);) {
      const auto& event = *reinterpret_cast<const inotify_event*>(buffer.data() + at);
      out = counts(event) || out;
      at += sizeof(inotify_event) + event.len;
    }
  return out;
}

Events::Events(std::unique_ptr<State> state) : state_(std::move(state)) {}
Events::Events(Events&&) noexcept = default;
Events::~Events() = default;
int Events::stop_fd() const { return state_->stop; }
int Events::wake_fd() const { return state_->all; }

Result<Events> Events::open(const std::vector<std::string>& files, const std::vector<std::string>& folders) {
  auto s = std::make_unique<State>();
  GH_TRY(s->stop, signals({SIGTERM, SIGINT}));
  GH_TRY(s->wake, signals({SIGHUP, SIGUSR1}));
  s->watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  s->all = ::epoll_create1(EPOLL_CLOEXEC);
  if (s->watch < 0 || s->all < 0) return fail_errno("can't wait for events", "inotify");
  for (const int fd : {s->stop, s->wake, s->watch}) GH_CHECK(s->add(fd));
  for (const std::string& file : files) {
    const std::filesystem::path path(file);
    const int watched = ::inotify_add_watch(s->watch, path.parent_path().c_str(), file_mask);
    if (watched >= 0) s->names[watched].push_back(path.filename().string());
  }
  for (const std::string& folder : folders) {
    const int watched = ::inotify_add_watch(s->watch, folder.c_str(), folder_mask);
    if (watched >= 0) s->names[watched];
  }
  return Events(std::move(s));
}

Events::Seen Events::take() {
  Seen out;
  out.stop = readable(state_->stop);  // left there
  signalfd_siginfo info{};
  while (::read(state_->wake, &info, sizeof info) == ssize_t(sizeof info)) out.reassess = true;
  out.software = state_->read_watch();
  return out;
}

Events::Woken Events::wait_until(std::chrono::steady_clock::time_point until) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    constexpr std::int64_t most = 3'600'000;
    pollfd p{state_->all, POLLIN, 0};
    const int n = ::poll(&p, 1, int(std::clamp<std::int64_t>(left, 0, most)));
    if (n > 0) return Woken::event;
    if (n == 0 && left <= most) return Woken::time;
  }
}

}  // namespace gatehouse::endpoint
