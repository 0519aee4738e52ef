// OpenSSL's OCSP responder (`openssl ocsp`) of a test's authority, on a port of its own.
#pragma once

#include <gtest/gtest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/x509.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse::test {

inline Certificate certificate_in(const std::string& path) { return Certificate::from_pem(as_text(read_file(path, 1 << 20).value())).value(); }

class Responder {
 public:
  // `good` and `revoked`: PEM files; it knows no others.
  Responder(const Authority& authority, const std::string& index, const std::vector<std::string>& good, const std::vector<std::string>& revoked) {
    std::ofstream rows(index);
    const auto row = [&](const std::string& file, const char* head) {
      std::string serial = certificate_in(file).serial();
      std::transform(serial.begin(), serial.end(), serial.begin(), [](unsigned char c) { return char(std::toupper(c)); });
      rows << head << '\t' << serial << "\tunknown\t/CN=one\n";
    };
    for (const std::string& file : good) row(file, "V\t401231235959Z\t");
    for (const std::string& file : revoked) row(file, "R\t401231235959Z\t200101000000Z,keyCompromise");
    rows.close();
    const std::string ca = authority.certificate(), key = authority.key();
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(ends[1], STDOUT_FILENO);
      ::dup2(ends[1], STDERR_FILENO);
      ::execlp("openssl", "openssl", "ocsp", "-port", "0", "-index", index.c_str(), "-CA", ca.c_str(), "-rsigner", ca.c_str(), "-rkey", key.c_str(), "-nmin", "60",
               static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = ::fdopen(ends[0], "r");
    char line[512];
    while (port_ == 0 && std::fgets(line, sizeof line, out_) != nullptr) {
      const std::string text(line);
      if (text.starts_with("ACCEPT ")) port_ = std::stoi(text.substr(text.find("]:") + 2));
    }
    EXPECT_NE(port_, 0) << "openssl ocsp didn't start";
  }
  ~Responder() { stop(); }
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  void stop() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    std::fclose(out_);
    child_ = -1;
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  pid_t child_ = -1;
  FILE* out_ = nullptr;
  int port_ = 0;
};

}  // namespace gatehouse::test
