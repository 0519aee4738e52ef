// A software TPM of its own for one test: swtpm on Unix sockets that are listening before it starts, in a folder of its own;
// it ends with this object, and with this process whatever happens to it.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace gatehouse::endpoint::test {

struct Ran {
  int code = -1;
  std::string out;
};

// Runs a program to its end; its stdout, and stderr after it.
inline Ran run(const std::string& command) {
  Ran r;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return r;
  std::array<char, 4096> buffer{};
  for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) != 0;) r.out.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  r.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return r;
}

class Swtpm {
 public:
  static bool installed() { return run("swtpm --version").code == 0; }

  Swtpm() {
    std::string name = std::filesystem::temp_directory_path() / "gatehouse-swtpm-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    const int server = listening(folder_ + "/tpm"), control = listening(control_path());
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      const std::string server_option = "type=unixio,fd=" + std::to_string(server), control_option = "type=unixio,fd=" + std::to_string(control);
      const std::string state = "dir=" + folder_, log = "file=" + folder_ + "/log";
      ::execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state.c_str(), "--server", server_option.c_str(), "--ctrl", control_option.c_str(), "--flags",
               "not-need-init", "--log", log.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(server);
    ::close(control);
  }
  Swtpm(const Swtpm&) = delete;
  Swtpm& operator=(const Swtpm&) = delete;
  ~Swtpm() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string tcti() const { return "swtpm:path=" + folder_ + "/tpm"; }
  std::string control_path() const { return folder_ + "/tpm.ctrl"; }  // where tpm2-tss looks for it
  const std::string& folder() const { return folder_; }

 private:
  static int listening(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd, 8), 0);
    return fd;
  }
  std::string folder_;
  pid_t child_ = -1;
};

}  // namespace gatehouse::endpoint::test
