// A server's folder: references of the recorded evidence, a state store, certificates and gatehouse.toml.
#pragma once

#include <fstream>

#include "tests/endpoint_tpm/swtpm.h"
#include "tests/server_program/program.h"
#include "tests/server_session/conversation.h"
#include "tests/server_tls/certificates.h"
#include "tests/server_tls/tls_peer.h"

namespace gatehouse::test {

class Site {
 public:
  Site() : authority(world.folder) {
    authority.issue("server", {.purpose = "serverAuth"});
    authority.issue("client");
  }
  std::string path(const std::string& name) const { return world.folder.string() + "/" + name; }
  // `more`: further keys of [pt_tls]; `state`: of [state]; `tables`: further tables.
  void configure(const std::string& more = {}, const std::string& state = {}, const std::string& tables = {}) {
    world.state.reset();  // the server's from now on
    std::ofstream(path("gatehouse.toml")) << "[pt_tls]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n"
                                          << "client_ca = \"test CA.pem\"\n" << more
                                          << "[refdb]\npath = \"refdb\"\n[state]\npath = \"state\"\n" << state << "[server]\nthreads = 2\n" << tables;
  }
  std::vector<std::string> serve(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{GATEHOUSE_PROGRAM, "serve", "--config", path("gatehouse.toml")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // gatehouse ARGUMENTS --config …
  endpoint::test::Ran gatehouse(const std::string& arguments) const {
    return endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " " + arguments + " --config '" + path("gatehouse.toml") + "'");
  }
  struct As {
    endpoint::KeyAlgorithm algorithm = endpoint::KeyAlgorithm::ecc;
    std::string identity;  // that the device is bound to; empty: to none
  };
  // A machine whose key is trusted and whose firmware is approved. Before configure().
  Machine enrolled(const As& as) {
    Machine m = machine(as.algorithm);
    const std::string device = m.tpm->ak().key_id();
    // Elsewhere, so that the site has no session yet. Each machine of these tests has the same firmware.
    static const pipeline::Baseline baseline = [] {
      World first;
      const Machine one = machine();
      const std::string name = one.tpm->ak().key_id();
      first.enrol(one.tpm->ak(), name);
      converse(first, one);
      first.approve(name);
      return first.state->approved_baselines(name)->front();
    }();
    server::Enrolment e;
    e.device = device;
    e.key = server::SeenKey{m.tpm->ak(), std::nullopt, std::nullopt};
    e.product = "Debian 12 x86_64";
    if (!as.identity.empty()) e.identities = {as.identity};
    e.trust = true;
    e.approved_baseline = baseline;
    EXPECT_TRUE(world.state->enrol_blocking(std::move(e)));
    return m;
  }
  Machine enrolled() { return enrolled(As()); }
  // One attestation of this machine; nullopt: the server went away. `step` is called before each read.
  std::optional<endpoint::Outcome> attest(std::uint16_t port, const Machine& m, const std::function<void()>& step = {},
                                          const ClientOptions& options = {}) const {
    TlsPeer peer(port, {TLS1_3_VERSION, {}, path("client.pem"), path("client.key")});
    if (!peer.good()) return std::nullopt;
    Client client(m, options);
    endpoint::Session::Step next = client.session().start();
    for (;;) {
      if (!peer.write(next.send) && !next.ended) return std::nullopt;
      if (next.ended) return client.session().outcome();
      if (step) step();
      const ByteVector answer = peer.read();
      next = answer.empty() ? client.session().end_of_stream() : client.session().feed(answer);
    }
  }

  World world;
  Authority authority;
};

}  // namespace gatehouse::test
