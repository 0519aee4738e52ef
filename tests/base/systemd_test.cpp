#include "base/systemd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>

namespace gatehouse::test {
namespace {

// What a manager sees of a process that says something.
class Manager {
 public:
  explicit Manager(std::string name) : name_(std::move(name)) {
    socket_ = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name_.data(), name_.size());
    const bool abstract = name_[0] == '@';
    if (abstract) address.sun_path[0] = '\0';
    good_ = ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), socklen_t(offsetof(sockaddr_un, sun_path) + name_.size() + (abstract ? 0 : 1))) == 0;
    ::setenv("NOTIFY_SOCKET", name_.c_str(), 1);
  }
  ~Manager() { ::unsetenv("NOTIFY_SOCKET"); }
  bool good() const { return good_; }
  std::string said() {
    char buffer[256];
    const ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    return size < 0 ? "(nothing)" : std::string(buffer, std::size_t(size));
  }

 private:
  std::string name_;
  Descriptor socket_;
  bool good_ = false;
};

TEST(Systemd, IsToldThroughEitherKindOfSocket) {
  const std::string path = (std::filesystem::temp_directory_path() / ("notify-" + std::to_string(::getpid()))).string();
  for (const std::string& name : {path, "@gatehouse-notify-" + std::to_string(::getpid())}) {
    Manager manager(name);
    ASSERT_TRUE(manager.good()) << name;
    systemd::notify("READY=1");
    EXPECT_EQ(manager.said(), "READY=1") << name;
    systemd::notify_reloading();
    EXPECT_TRUE(manager.said().starts_with("RELOADING=1\nMONOTONIC_USEC=")) << name;
  }
  std::filesystem::remove(path);
  systemd::notify("READY=1");  // nobody there: no trouble
}

TEST(Systemd, AWatchdogIsThatOfThisProcess) {
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(systemd::watchdog_interval(), std::chrono::seconds(30));
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(systemd::watchdog_interval(), std::nullopt);
  ::unsetenv("WATCHDOG_PID");
  EXPECT_EQ(systemd::watchdog_interval(), std::chrono::seconds(30));
  for (const char* bad : {"", "0", "-1", "30s", "99999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", bad, 1);
    EXPECT_EQ(systemd::watchdog_interval(), std::nullopt) << bad;
  }
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(systemd::watchdog_interval(), std::nullopt);
}

// In a process of its own, whose descriptors from 3 on are what a manager would pass.
TEST(Systemd, PassedSocketsAreTakenOnceWithTheirNames) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto fails = [](int code) { ::_exit(code); };
    const int a = ::socket(AF_INET, SOCK_STREAM, 0), b = ::socket(AF_INET6, SOCK_STREAM, 0);
    const int high_a = ::fcntl(a, F_DUPFD, 100), high_b = ::fcntl(b, F_DUPFD, 100);
    if (::dup2(high_a, 3) != 3 || ::dup2(high_b, 4) != 4) fails(1);
    ::setenv("LISTEN_FDS", "2", 1);
    ::setenv("LISTEN_FDNAMES", "pt-tls", 1);
    ::setenv("LISTEN_PID", "1", 1);
    if (!systemd::passed_sockets().empty()) fails(2);  // another process's
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    const auto passed = systemd::passed_sockets();
    if (passed.size() != 2 || passed[0].name != "pt-tls" || !passed[1].name.empty()) fails(3);
    if (passed[0].descriptor.get() != 3 || (::fcntl(4, F_GETFD) & FD_CLOEXEC) == 0) fails(4);
    if (::getenv("LISTEN_FDS") != nullptr || !systemd::passed_sockets().empty()) fails(5);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace gatehouse::test
