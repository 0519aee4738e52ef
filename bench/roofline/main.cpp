// gatehouse-roofline: what one attestation costs at least on this machine, and what it costs through the real server code.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/roofline/primitives.h"
#include "tests/server_session/conversation.h"

namespace {

double process_cpu_us() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gatehouse;
  CLI::App app{"Measures the bare primitives of one attestation, and one attestation through the server's code in process."};
  app.set_version_flag("--version", "gatehouse-roofline " GATEHOUSE_VERSION);
  std::string tls = "mutual", ak = "rsa";
  bool kept = false, json = false;
  int rounds = 201;
  app.add_option("--tls", tls, "mutual or server")->check(CLI::IsMember({"mutual", "server"}));
  app.add_option("--ak", ak, "rsa or ecc")->check(CLI::IsMember({"rsa", "ecc"}));
  app.add_flag("--kept", kept, "re-attestation on a connection that is there");
  int transport = 0;
  app.add_option("--transport", transport, "and so many conversations over sockets with nothing behind them")->check(CLI::Range(100, 1'000'000));
  app.add_option("--rounds", rounds, "measurements of each; the median counts")->check(CLI::Range(5, 100'000));
  app.add_flag("--json", json, "one JSON object on standard output");
  app.footer("Example:\n  gatehouse-roofline --tls mutual --ak rsa --json");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // contract, exit codes
  }

  bench::Workload workload;
  workload.mutual = tls == "mutual";
  workload.rsa = ak == "rsa";
  workload.kept = kept;
  // The seed's workload: 136 firmware events, boot_aggregate and 1,732 files, SHA-256; the whole evidence plane and the
  // session core, the state store's records included.
  // A first attestation has nothing that came before.
  test::World world(1, kept ? std::size_t(64) << 20 : 0);
  world.settings.keep = server::Keep::none;
  const test::Machine machine = test::machine(workload.rsa ? endpoint::KeyAlgorithm::rsassa : endpoint::KeyAlgorithm::ecc);
  const std::string device = machine.tpm->ak().key_id();
  world.enrol(machine.tpm->ak(), device);
  test::converse(world, machine);
  world.approve(device);
  std::vector<double> times;
  const bench::Primitives p = bench::measure_primitives(workload, rounds);
  for (int i = 0; i < std::max(rounds / 4, 5); ++i) {
    const double start = process_cpu_us();
    const test::Outcome out = test::converse(world, machine);
    const double spent = process_cpu_us() - start - out.client_cpu_us - out.setup_cpu_us;
    if (!out.answer || out.answer->recommendation != endpoint::Recommendation::allow) {
      std::fprintf(stderr, "gatehouse-roofline: the attestation wasn't allowed\n");
      return 4;
    }
    times.push_back(spent);
  }
  std::nth_element(times.begin(), times.begin() + std::ptrdiff_t(times.size() / 2), times.end());
  // TLS is the same library on both sides of the ratio.
  const double pipeline = times[times.size() / 2] + p.tls_handshake + p.records;
  std::printf("{\"workload\":{\"boot\":%zu,\"ima\":%zu,\"bank\":\"sha256\",\"tls\":\"%s\",\"ak\":\"%s\",\"kept\":%s},"
              "\"primitives_us\":{\"tls_handshake\":%.1f,\"records\":%.1f,\"nonce\":%.1f,\"extend\":%.1f,\"lookup\":%.1f,\"quote\":%.1f},"
              "\"extend_shape\":\"%s\",\"sum_us\":%.1f,\"physical_us\":%.1f,\"pipeline_us\":%.1f,\"ratio\":%.2f",
              workload.boot, workload.ima, tls.c_str(), ak.c_str(), kept ? "true" : "false", p.tls_handshake, p.records, p.nonce, p.extend, p.lookup,
              p.quote, p.extend_shape.c_str(), p.sum(), p.physical(), pipeline, pipeline / p.sum());
  if (transport > 0) std::printf(",\"transport_us\":%.1f", bench::measure_transport(workload, std::size_t(transport)));
  std::printf("}\n");
  (void)json;
  return 0;
}
