// gatehouse-endpoint run, the program, before gatehouse serve: assessed again for each reason that there is, connected
// again after a loss, and ended in order. Nothing waits for a time but for what the programs say.
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/server_program/program_test.h"

namespace gatehouse::test {
namespace {

class RunTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    tpm_.emplace();
    device_ = boot(*tpm_, list_file(), "ecc");
    packages({"adduser", "base-files"});
  }
  // An enrolled device, whose firmware isn't approved yet.
  void enrol() {
    ASSERT_EQ(site.gatehouse("device add " + device_ + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  }
  std::vector<std::string> endpoint(std::uint16_t port, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{GATEHOUSE_ENDPOINT_PROGRAM,
                                 "run",
                                 "--server",
                                 "localhost:" + std::to_string(port),
                                 "--ca",
                                 site.authority.certificate(),
                                 "--certificate",
                                 site.path("client.pem"),
                                 "--key",
                                 site.path("client.key"),
                                 "--tcti",
                                 tpm_->tcti(),
                                 "--eventlog",
                                 log_file(),
                                 "--ima",
                                 list_file(),
                                 "--os-name",
                                 "Debian",
                                 "--os-version",
                                 "12 x86_64",
                                 "--inventory",
                                 site.path("inventory"),
                                 "--dpkg-status",
                                 site.path("dpkg/status"),
                                 "--settle",
                                 "0",
                                 "--reconnect-min",
                                 "1",
                                 "--status",
                                 site.path("status.json")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // As dpkg does it: written beside and renamed.
  void packages(const std::vector<std::string>& names) const {
    std::filesystem::create_directories(site.path("dpkg"));
    {
      std::ofstream file(site.path("dpkg/status-new"));
      for (const std::string& name : names)
        file << "Package: " << name << "\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n\n";
    }
    std::filesystem::rename(site.path("dpkg/status-new"), site.path("dpkg/status"));
  }
  boost::json::object status() const {
    const ByteVector content = file(site.path("status.json"));
    return boost::json::parse(as_text(content)).as_object();
  }
  // [pt_tls] listen names this port from now on; `more`: further tables.
  void reconfigure(std::uint16_t port, const std::string& more = {}) const {
    std::string text(as_text(file(site.path("gatehouse.toml"))));
    const std::string any = "127.0.0.1:0\"";
    if (const auto at = text.find(any); at != std::string::npos)
      text.replace(at, any.size(), "127.0.0.1:" + std::to_string(port) + "\"");
    std::ofstream(site.path("gatehouse.toml")) << text << more;
  }

  std::optional<Swtpm> tpm_;
  std::string device_;
};

TEST_F(RunTest, IsAssessedAgainBySignalAndByTheServerAndEndsInOrder) {
  site.configure();
  Program server(site.serve({"--log-level", "debug"}));
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  enrol();
  Program endpoint(this->endpoint(port));
  ASSERT_TRUE(endpoint.says("access recommendation isolate, assessment result minor (connected)")) << endpoint.log();
  EXPECT_TRUE(endpoint.says("; No approved firmware baseline"));
  ASSERT_EQ(site.gatehouse("device baseline approve " + device_).code, 0);
  // The TPM is others' to use while nothing is assessed.
  EXPECT_EQ(run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " provision --json --tcti " + tpm_->tcti()).code, 0);
  endpoint.signal(SIGUSR1);
  ASSERT_TRUE(endpoint.says("access recommendation allow, assessment result compliant (signal)")) << endpoint.log();
  endpoint.signal(SIGHUP);
  ASSERT_TRUE(endpoint.says("(signal)", 2)) << endpoint.log();
  const auto asked = site.gatehouse("device reassess " + device_);
  EXPECT_EQ(asked.code, 0) << asked.out;
  ASSERT_TRUE(endpoint.says("access recommendation allow, assessment result compliant (server)")) << endpoint.log();
  EXPECT_TRUE(server.says("asking the endpoint for another assessment"));
  EXPECT_EQ(last_verdict().at("recommendation").as_string(), "allow");
  endpoint.signal(SIGTERM);
  EXPECT_EQ(endpoint.wait(), 0) << endpoint.log();
  EXPECT_TRUE(server.says("the endpoint closed the PB-TNC conversation")) << server.log();
  EXPECT_FALSE(server.log().find("without a CLOSE batch") != std::string::npos);
  const auto told = status();
  EXPECT_FALSE(told.at("connected").as_bool());
  EXPECT_EQ(told.at("assessments").as_int64(), 4);
  const auto& latest = told.at("latest").as_object();
  EXPECT_EQ(latest.at("reason").as_string(), "server");
  EXPECT_EQ(latest.at("recommendation").as_string(), "allow");
  EXPECT_EQ(std::string_view(latest.at("device").as_string()), device_);
  // Who has left can't be asked.
  EXPECT_EQ(site.gatehouse("device reassess " + device_).code, 1);
}

TEST_F(RunTest, IsAssessedAgainByTheClockWithWhatTheServerHasReadSince) {
  site.configure();
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  enrol();
  Program endpoint(this->endpoint(port, {"--interval", "1"}));
  ASSERT_TRUE(endpoint.says("(connected)")) << endpoint.log();
  std::ofstream(site.path("sums")) << std::string(64, 'a') << "  /usr/local/bin/another\n";
  const auto ingested = run(std::string(GATEHOUSE_PROGRAM) + " refdb ingest --json --refdb '" + site.path("refdb") +
                            "' --product 'Debian 12 x86_64' 'sha256sums:" + site.path("sums") + "'");
  ASSERT_EQ(ingested.code, 0) << ingested.out;
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation 2")) << server.log();
  ASSERT_TRUE(endpoint.says("(interval)", 2)) << endpoint.log();
  EXPECT_EQ(last_verdict().at("generation").as_int64(), 2);
}

TEST_F(RunTest, TellsASubscriberWhatIsInstalledAndRemoved) {
  std::ofstream(site.path("policy.toml"))
      << "[groups.all]\nask = [\"TPMRA\", { type = \"SWIDT\", argument = \"R S\" }]\n";
  site.configure();
  reconfigure(0, "[policy]\nfile = \"policy.toml\"\n");
  Program server(site.serve({"--log-level", "debug"}));
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  enrol();
  {
    // What is told at first is the inventory; with it known, a subscription is of events.
    Program first(this->endpoint(port));
    ASSERT_TRUE(first.says("(connected)")) << first.log();
    first.signal(SIGTERM);
    EXPECT_EQ(first.wait(), 0) << first.log();
  }
  Program endpoint(this->endpoint(port));
  ASSERT_TRUE(endpoint.says("(connected)")) << endpoint.log();
  packages({"adduser", "zstd"});
  ASSERT_TRUE(endpoint.says("(software)")) << endpoint.log();
  // A package manager that changes nothing is no reason.
  packages({"adduser", "zstd"});
  packages({"adduser"});
  ASSERT_TRUE(endpoint.says("(software)", 2)) << endpoint.log();
  endpoint.signal(SIGTERM);
  EXPECT_EQ(endpoint.wait(), 0) << endpoint.log();
  EXPECT_EQ(status().at("assessments").as_int64(), 3) << endpoint.log();
  const auto listed = site.gatehouse("device software " + device_ + " --history --json");
  ASSERT_EQ(listed.code, 0) << listed.out;
  std::vector<std::string> events;
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    const auto object = boost::json::parse(line).as_object();
    if (object.at("kind").as_string() != "event") continue;
    const std::string id(object.at("software_id").as_string());
    events.push_back(std::string(object.at("action").as_string()) + " " + id.substr(id.rfind("x86_64-") + 7));
  }
  std::sort(events.begin(), events.end());
  EXPECT_EQ(events,
            (std::vector<std::string>{"creation zstd-1.0-1", "deletion base-files-1.0-1", "deletion zstd-1.0-1"}))
      << listed.out << server.log();
  EXPECT_TRUE(server.says("received 2 SW ID events and 0 SWID tags from subscription")) << server.log();
}

TEST_F(RunTest, ConnectsAgainWhenTheServerIsBack) {
  site.configure();
  std::optional<Program> server(std::in_place, site.serve());
  const std::uint16_t port = server->port();
  ASSERT_NE(port, 0) << server->log();
  enrol();
  Program endpoint(this->endpoint(port));
  ASSERT_TRUE(endpoint.says("(connected)")) << endpoint.log();
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait(), 0) << "a kept connection ends at once: " << server->log();
  ASSERT_TRUE(endpoint.says("the server closed the connection; connecting again in 1 s")) << endpoint.log();
  reconfigure(port);
  server.emplace(site.serve());
  ASSERT_EQ(server->port(), port);
  ASSERT_TRUE(endpoint.says("(connected)", 2)) << endpoint.log();
  // And when it vanishes without a word.
  server->signal(SIGKILL);
  server->wait();
  ASSERT_TRUE(endpoint.says("; connecting again in ", 2)) << endpoint.log();
  server.emplace(site.serve());
  ASSERT_TRUE(endpoint.says("(connected)", 3)) << endpoint.log();
  endpoint.signal(SIGTERM);
  EXPECT_EQ(endpoint.wait(), 0) << endpoint.log();
}

TEST_F(RunTest, TellsSystemdAndStopsAlsoWhereNoServerIs) {
  const std::string name = site.path("notify");
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(name.size(), sizeof address.sun_path);
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  Program endpoint(this->endpoint(1));
  ::unsetenv("NOTIFY_SOCKET");
  std::array<char, 512> buffer{};
  const auto next = [&] {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    return std::string(buffer.data(), n > 0 ? std::size_t(n) : 0);
  };
  EXPECT_EQ(next(), "READY=1\nSTATUS=connecting to localhost:1");
  EXPECT_NE(next().find("STATUS=not connected: "), std::string::npos);
  ASSERT_TRUE(endpoint.says("can't connect")) << endpoint.log();
  endpoint.signal(SIGTERM);
  EXPECT_EQ(endpoint.wait(), 0) << endpoint.log();
  const auto told = status();
  EXPECT_FALSE(told.at("connected").as_bool());
  EXPECT_TRUE(told.at("latest").is_null());
  EXPECT_NE(told.at("error").as_object().at("text").as_string().find("localhost:1"), boost::json::string::npos);
  ::close(fd);
}

// Who is asked for may be chosen, and an acceptance test says what it wants to see.
TEST_F(RunTest, AttestTakesTheCollectorsThatAreNamed) {
  site.configure();
  reconfigure(0, "[imv]\ntest = true\n");
  Program server(site.serve({"--log-level", "debug"}));
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  enrol();
  EXPECT_EQ(attest(*tpm_, port, list_file(), certificate()).code, 1);
  ASSERT_EQ(site.gatehouse("device baseline approve " + device_).code, 0);
  EXPECT_EQ(attest(*tpm_, port, list_file(), certificate()).code, 0);
  EXPECT_TRUE(server.says("PB-PA message of type 'IETF/SWIMA'")) << server.log();
  const auto isolated = attest(*tpm_, port, list_file(), certificate() + " --test-command isolate");
  EXPECT_EQ(isolated.code, 1) << isolated.out;
  const auto again = attest(*tpm_, port, list_file(), certificate() + " --test-command isolate --test-retry allow");
  EXPECT_EQ(again.code, 0) << again.out;
  EXPECT_NE(again.out.find("sending PB-TNC CRETRY batch"), std::string::npos) << again.out;
  // Without the TPM's evidence nobody is let in; the TPM isn't looked for either.
  const auto without =
      run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " attest --server localhost:" + std::to_string(port) + " --ca '" +
          site.authority.certificate() + "' " + certificate() + " --imc os,scanner --tcti swtpm:path=/nonexistent");
  EXPECT_EQ(without.code, 1) << without.out;
  // A folder that was named has to be usable.
  const auto nowhere = run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " attest --server localhost:1 --imc swima " +
                           "--inventory /proc/nowhere/inventory");
  EXPECT_EQ(nowhere.code, 4);
  EXPECT_NE(nowhere.out.find("/proc/nowhere/inventory"), std::string::npos) << nowhere.out;
}

TEST(RunConfiguration, IsReadFromAFileAndItsMistakesNamed) {
  Site site;
  const auto attempt = [&](const std::string& text, const std::string& more = {}) {
    std::ofstream(site.path("endpoint.toml")) << text;
    return run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " run --config '" + site.path("endpoint.toml") + "' " + more);
  };
  const auto bad = attempt(
      "server = \"localhost:1\"\nkee = \"x\"\ninterval = 0\nimc = [\"os\", \"everything\"]\n"
      "pcr_info = 3\nmax-batch = 9000\n");
  EXPECT_EQ(bad.code, 2) << bad.out;
  for (const char* mistake : {":2: kee: unknown key", ":3: interval: ", ":4: imc: ",
                              ":5: pcr_info: wants true or false", ":6: max-batch: unknown key"})
    EXPECT_NE(bad.out.find("endpoint.toml" + std::string(mistake)), std::string::npos) << mistake << "\n" << bad.out;
  const auto broken = attempt("server = \n");
  EXPECT_EQ(broken.code, 2);
  EXPECT_NE(broken.out.find("endpoint.toml:1: toml: "), std::string::npos) << broken.out;
  EXPECT_NE(attempt("certificate = \"a.pem\"\n").out.find("--server is needed"), std::string::npos);
  // The certificate's path is relative to the file, and the command line counts more.
  const auto half = attempt("server = \"localhost:1\"\ncertificate = \"a.pem\"\n");
  EXPECT_EQ(half.code, 2);
  EXPECT_NE(half.out.find("--certificate and --key need each other"), std::string::npos) << half.out;
  const auto wrong = attempt("server = \"localhost:1\"\nak = \"0x81010002\"\n", "--ak nothing");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.out.find("not a TPM handle"), std::string::npos) << wrong.out;
  EXPECT_EQ(run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " run --config /nonexistent.toml").code, 4);
}

}  // namespace
}  // namespace gatehouse::test
