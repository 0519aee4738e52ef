// A server over real TLS on loopback in this process, with a machine that it allows, and what it logs.
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/log.h"
#include "server/tls/server.h"
#include "tests/folder.h"
#include "tests/server_session/conversation.h"
#include "tests/server_tls/certificates.h"
#include "tests/server_tls/tls_peer.h"

namespace gatehouse::test {

// What the process writes to stderr goes to a file for as long as this lives.
class Captured {
 public:
  explicit Captured(const std::string& path) : path_(path), saved_(::dup(STDERR_FILENO)) {
    FILE* const file = std::fopen(path.c_str(), "we");
    ::dup2(::fileno(file), STDERR_FILENO);
    std::fclose(file);
  }
  ~Captured() {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  std::string text() const {
    std::stringstream out;
    out << std::ifstream(path_).rdbuf();
    return out.str();
  }
  bool has(std::string_view what) const { return text().find(what) != std::string::npos; }

 private:
  std::string path_;
  int saved_;
};

// A machine whose key is trusted and whose firmware is approved, and the state store that says so: made once in a program.
class Known {
 public:
  static const Known& machine_and_state() {
    static const Known made;
    return made;
  }
  // To be changed by who has it.
  Machine copy() const { return {std::make_unique<endpoint::SoftwareTpm>(*machine_.tpm), machine_.log, machine_.list}; }
  void copy_state(const std::string& path) const { std::filesystem::copy(folder_ / "state", path, std::filesystem::copy_options::recursive); }

 private:
  Known() : machine_(machine()) {
    World world;
    const std::string device = machine_.tpm->ak().key_id();
    world.enrol(machine_.tpm->ak(), device);
    converse(world, machine_);
    world.approve(device);
    world.state.reset();
    std::filesystem::copy(world.folder / "state", folder_ / "state", std::filesystem::copy_options::recursive);
  }
  Folder folder_;
  Machine machine_;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder = world.folder;
    authority.emplace(folder);
    authority->issue("server", {.purpose = "serverAuth"});
    authority->issue("client");
    config.listen = {"127.0.0.1:0"};
    config.certificate = folder + "/server.pem";
    config.key = folder + "/server.key";
    config.client_ca = authority->certificate();
    config.refdb = folder + "/refdb";
    config.state = folder + "/state";
    config.control_socket = folder + "/control.sock";
    config.threads = 2;
    config.grace = std::chrono::seconds(20);
    endpoint.emplace(Known::machine_and_state().copy());
    Known::machine_and_state().copy_state(config.state);
    log.emplace(folder + "/log");
    log::configure(log::Level::debug, LogFormat::text);
  }
  void TearDown() override {
    stop();
    log.reset();
  }
  void start() {
    auto started = server::Server::start(config, {[this](const std::string&) -> Result<std::shared_ptr<const refdb::View>> { return world.references; },
                                                  [this](const std::string&) -> Result<std::uint64_t> { return world.references->generation(); }});
    ASSERT_TRUE(started) << started.error().text();
    ::prctl(PR_SET_DUMPABLE, 1);  // a leak checker attaches to this process
    server = std::move(*started);
    thread = std::thread([this] { server->run(); });
  }
  // Returns when every connection is gone: the server waits for each.
  void stop() {
    if (!thread.joinable()) return;
    server->stop();
    thread.join();
    EXPECT_EQ(server->connections(), 0U);
    server.reset();
  }
  TlsWanted with(const std::string& name, int version = TLS1_3_VERSION) const {
    return {version, {}, folder + "/" + name + ".pem", folder + "/" + name + ".key"};
  }
  // Speaks for the client until its session ends or, where it is kept, has its verdict; or for so many answers.
  static void speak(TlsPeer& peer, endpoint::Session& client, std::size_t steps = 10'000) {
    endpoint::Session::Step step = client.start();
    for (std::size_t n = 0; n < steps; ++n) {
      const bool written = peer.write(step.send);
      if (step.ended || !written || (client.outcome() && step.send.empty())) return;
      const ByteVector answer = peer.read();
      step = answer.empty() ? client.end_of_stream() : client.feed(answer);
    }
  }
  // Whether a good endpoint is allowed now.
  testing::AssertionResult allowed(int version = TLS1_3_VERSION) {
    TlsPeer peer(server->port(), with("client", version));
    if (!peer.good()) return testing::AssertionFailure() << peer.error();
    Client client(*endpoint);
    speak(peer, client.session());
    if (!client.session().outcome()) return testing::AssertionFailure() << (client.session().error() ? client.session().error()->text() : "no outcome");
    if (client.session().outcome()->recommendation != endpoint::Recommendation::allow) return testing::AssertionFailure() << log->text();
    return testing::AssertionSuccess();
  }

  World world{World::WithoutState()};  // the server's
  std::string folder;
  std::optional<Authority> authority;
  std::optional<Machine> endpoint;
  server::Config config;
  std::unique_ptr<server::Server> server;
  std::thread thread;
  std::optional<Captured> log;
};

}  // namespace gatehouse::test
