// Other people's supplicants and RADIUS clients, where they are installed: eapol_test (wpa_supplicant's) and radclient
// (FreeRADIUS'). Neither knows PT-EAP, so what they show is RADIUS, EAP, EAP-TTLS, the methods and the keys.
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <sstream>

#include "tests/server_radius/peer.h"

namespace gatehouse::test {
namespace {

struct Ran {
  int code = -1;
  std::string out;
};

Ran run(const std::string& command) {
  Ran out;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return out;
  std::array<char, 4096> buffer{};
  for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.out.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

bool installed(const char* program) { return run(std::string("command -v ") + program).code == 0; }

class ForeignRadius : public RadiusTest {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    config.radius.without_attestation = "isolate";
    config.radius.tls_client_auth = "optional";
  }
  Ran eapol_test(const std::string& phase2, const std::string& more = {}, const std::string& password = "correct horse battery") const {
    write("network", "network={\n  key_mgmt=IEEE8021X\n  eap=TTLS\n  identity=\"carol\"\n  anonymous_identity=\"anonymous\"\n  password=\"" + password +
                         "\"\n  ca_cert=\"" + authority->certificate() + "\"\n  phase2=\"" + phase2 + "\"\n" + more + "}\n");
    return run("timeout 60 eapol_test -c '" + folder + "/network' -a 127.0.0.1 -p " + std::to_string(server->radius_port()) + " -s '" +
               std::string(radius_secret) + "' -t 20");
  }
};

#define NEEDS(program) \
  if (!installed(program)) GTEST_SKIP() << program " isn't installed"

TEST_F(ForeignRadius, EapolTestAuthenticatesWithEachMethodAndTls) {
  NEEDS("eapol_test");
  start();
  for (const char* const tls : {"  phase1=\"tls_disable_tlsv1_3=0\"\n", "  phase1=\"tls_disable_tlsv1_3=1\"\n"})
    for (const char* const method : {"autheap=MD5", "autheap=MSCHAPV2", "autheap=GTC"}) {
      const Ran good = eapol_test(method, tls);
      EXPECT_EQ(good.code, 0) << method << "\n" << good.out << log->text();
      // It has compared the keys in Access-Accept with its own.
      EXPECT_NE(good.out.find("MPPE keys OK: 1"), std::string::npos) << method;
      const Ran wrong = eapol_test(method, tls, "wrong");
      EXPECT_NE(wrong.code, 0) << method;
    }
  EXPECT_TRUE(log->has("TLSv1.3"));
  EXPECT_TRUE(log->has("TLSv1.2"));
  EXPECT_TRUE(log->has("isolate"));
}

// After PAP wpa_supplicant takes nothing more inside the tunnel, so it mustn't be asked for PT-EAP.
TEST_F(ForeignRadius, EapolTestAuthenticatesByPapAndByCertificateWhereNobodyIsAssessed) {
  NEEDS("eapol_test");
  config.radius.clients.front().attestation = false;
  start();
  const Ran pap = eapol_test("auth=PAP");
  EXPECT_EQ(pap.code, 0) << pap.out << log->text();
  EXPECT_NE(eapol_test("auth=PAP", {}, "wrong").code, 0);
  // The certificate is enough, whatever it says inside.
  const Ran certificate = eapol_test("auth=PAP", "  client_cert=\"" + folder + "/client.pem\"\n  private_key=\"" + folder + "/client.key\"\n", "wrong");
  EXPECT_EQ(certificate.code, 0) << certificate.out << log->text();
  EXPECT_TRUE(log->has("certificate authentication of 'carol'"));
}

TEST_F(ForeignRadius, RadclientIsAnswered) {
  NEEDS("radclient");
  start();
  const std::string where = "127.0.0.1:" + std::to_string(server->radius_port());
  write("radclient.secret", std::string(radius_secret) + "\n");
  const Ran status = run("echo 'Message-Authenticator = 0x00' | timeout 20 radclient -x -S '" + folder + "/radclient.secret' " + where + " status");
  EXPECT_EQ(status.code, 0) << status.out;
  EXPECT_NE(status.out.find("Access-Accept"), std::string::npos) << status.out;
  const Ran pap = run("printf 'User-Name = \"carol\"\\nUser-Password = \"correct horse battery\"\\nMessage-Authenticator = 0x00\\n' | timeout 20 radclient -x -S '" +
                      folder + "/radclient.secret' " + where + " auth");
  EXPECT_NE(pap.out.find("Access-Reject"), std::string::npos) << pap.out;
}

// FreeRADIUS knows the passwords: the supplicant's answers to our challenges are judged there, and its proof comes back.
class FreeRadius {
 public:
  explicit FreeRadius(const std::string& folder) : log_(folder + "/freeradius.log") {
    const int probe = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    EXPECT_EQ(::bind(probe, reinterpret_cast<const sockaddr*>(&here), size), 0);
    ::getsockname(probe, reinterpret_cast<sockaddr*>(&here), &size);
    ::close(probe);
    port_ = ntohs(here.sin_port);
    std::filesystem::create_directory(folder + "/raddb");
    std::ofstream(folder + "/raddb/users") << "erin Cleartext-Password := \"known elsewhere\"\n";
    std::ofstream(folder + "/raddb/radiusd.conf")
        << "prefix = /usr\nlibdir = /usr/lib/freeradius\nlogdir = " << folder << "\nrun_dir = " << folder << "\npidfile = " << folder
        << "/freeradius.pid\nlog {\n destination = stdout\n}\nsecurity {\n reject_delay = 0\n}\nclient here {\n ipaddr = 127.0.0.1\n secret = "
           "the-secret-of-the-other-server\n}\nmodules {\n pap {\n }\n chap {\n }\n mschap {\n }\n files {\n  usersfile = "
        << folder << "/raddb/users\n }\n}\nserver knowing {\n listen {\n  type = auth\n  ipaddr = 127.0.0.1\n  port = " << port_
        << "\n }\n authorize {\n  chap\n  mschap\n  files\n  pap\n }\n authenticate {\n  Auth-Type PAP {\n   pap\n  }\n  Auth-Type CHAP {\n   chap\n  }\n"
           "  Auth-Type MS-CHAP {\n   mschap\n  }\n }\n post-auth {\n  update reply {\n   Message-Authenticator := 0x00\n  }\n  Post-Auth-Type REJECT {\n"
           "   update reply {\n    Message-Authenticator := 0x00\n   }\n  }\n }\n}\n";
    pid_ = ::fork();
    if (pid_ == 0) {
      if (std::freopen(log_.c_str(), "w", stdout) == nullptr || ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0) ::_exit(127);
      ::execlp("freeradius", "freeradius", "-d", (folder + "/raddb").c_str(), "-n", "radiusd", "-fxx", "-l", "stdout", nullptr);
      ::_exit(127);
    }
  }
  ~FreeRadius() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  FreeRadius(const FreeRadius&) = delete;
  FreeRadius& operator=(const FreeRadius&) = delete;
  std::uint16_t port() const { return port_; }
  std::string log() const {
    std::stringstream out;
    out << std::ifstream(log_).rdbuf();
    return out.str();
  }
  bool ready() const {
    while (::waitpid(pid_, nullptr, WNOHANG) == 0)
      if (log().find("Ready to process requests") != std::string::npos) return true;
    return false;
  }

 private:
  const std::string log_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

TEST_F(ForeignRadius, FreeRadiusJudgesAnswersToChallengesAndPasswords) {
  NEEDS("freeradius");
  const FreeRadius knowing(folder);
  ASSERT_TRUE(knowing.ready()) << knowing.log();
  write("upstream", "the-secret-of-the-other-server\n");
  config.radius.passwords.clear();
  config.radius.methods = {"md5", "mschapv2", "gtc", "pap"};
  config.radius.upstream = {{"127.0.0.1:" + std::to_string(knowing.port()), folder + "/upstream"}};
  start();
  using By = endpoint::EapClient::Method;
  for (const By method : {By::md5, By::mschapv2, By::gtc, By::pap}) {
    EXPECT_TRUE(allowed({.user = "erin", .password = "known elsewhere", .method = method})) << int(method) << knowing.log();
    const auto wrong = made({.user = "erin", .password = "wrong", .method = method, .station = "place " + std::to_string(int(method))});
    ASSERT_TRUE(wrong->run()) << log->text();
    EXPECT_FALSE(wrong->accepted());
  }
  // And a supplicant that checks the proof by itself.
  if (installed("eapol_test")) {
    write("network", "network={\n  key_mgmt=IEEE8021X\n  eap=TTLS\n  identity=\"erin\"\n  anonymous_identity=\"anonymous\"\n  password=\"known elsewhere\"\n  ca_cert=\"" +
                         authority->certificate() + "\"\n  phase2=\"autheap=MSCHAPV2\"\n}\n");
    const Ran good = run("timeout 60 eapol_test -c '" + folder + "/network' -a 127.0.0.1 -p " + std::to_string(server->radius_port()) + " -s '" +
                         std::string(radius_secret) + "' -t 20");
    EXPECT_EQ(good.code, 0) << good.out << log->text() << knowing.log();
  }
}

}  // namespace
}  // namespace gatehouse::test
