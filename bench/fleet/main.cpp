// gatehouse-fleet: simulated endpoints, thousands at once, against a running server.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <thread>

#include "fleet/run.h"

namespace {

using namespace gatehouse;
namespace json = boost::json;

std::atomic<bool> stop{false};

int give_up(const Error& error) {
  std::fprintf(stderr, "gatehouse-fleet: %s\n", error.text().c_str());
  return exit_code(error.fault);
}

// "host:port", "[::1]:271".
bool split_server(const std::string& text, fleet::RunOptions& o) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon + 1 == text.size()) return false;
  o.host = text.substr(0, colon);
  o.port = text.substr(colon + 1);
  if (o.host.size() > 2 && o.host.front() == '[' && o.host.back() == ']') o.host = o.host.substr(1, o.host.size() - 2);
  return !o.host.empty();
}

double percentile(const std::vector<float>& sorted, double share) {
  if (sorted.empty()) return 0;
  return double(sorted[std::min(std::size_t(share * double(sorted.size())), sorted.size() - 1)]);
}

template <class Counts>
std::string to_json(const Counts& counts) {
  json::object out;
  for (const auto& [name, n] : counts) out[name] = n;
  return json::serialize(out);
}

// The server's process, where it is ours to see: before the first attestation, and after the last one.
struct Server {
  std::optional<double> cpu_seconds;                         // in between
  std::optional<std::uint64_t> resident_before, resident_at_rest;  // bytes; at rest: kept connections are still there
};

void print(const fleet::Report& report, const Server& server, bool as_json) {
  const fleet::Tally& t = report.tally;
  std::uint64_t attestations = 0;
  for (const auto& [_, n] : t.verdicts) attestations += n;
  const double rate = report.seconds > 0 ? double(attestations) / report.seconds : 0;
  const std::uint64_t bytes = attestations == 0 ? 0 : t.bytes_sent / attestations;
  const double p50 = percentile(t.latencies_ms, 0.5), p90 = percentile(t.latencies_ms, 0.9),
               p99 = percentile(t.latencies_ms, 0.99),
               most = t.latencies_ms.empty() ? 0 : double(t.latencies_ms.back());
  if (!as_json) {
    std::printf("%llu attestations in %.2f s: %.1f/s\nlatency p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n",
                static_cast<unsigned long long>(attestations), report.seconds, rate, p50, p90, p99, most);
    for (const auto& [name, n] : t.verdicts)
      std::printf("%s: %llu\n", name.c_str(), static_cast<unsigned long long>(n));
    for (const auto& [name, n] : t.failures)
      std::printf("failed, %s: %llu\n", name.c_str(), static_cast<unsigned long long>(n));
    for (const auto& [name, n] : t.disturbers)
      std::printf("%s: %llu\n", name.c_str(), static_cast<unsigned long long>(n));
    if (t.wrong != 0) std::printf("bad evidence that was allowed: %llu\n", static_cast<unsigned long long>(t.wrong));
    std::printf("%llu bytes sent for each; CPU %.2f s here", static_cast<unsigned long long>(bytes),
                report.cpu_seconds);
    if (server.cpu_seconds) std::printf(", %.2f s of the server", *server.cpu_seconds);
    std::puts("");
    return;
  }
  std::printf(
      "{\"attestations\":%llu,\"seconds\":%.3f,\"rate\":%.1f,"
      "\"latency_ms\":{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"max\":%.2f},"
      "\"verdicts\":%s,\"failures\":%s,\"disturbers\":%s,\"wrong\":%llu,\"connections\":%llu,\"repeated\":%llu,\"bytes_sent\":%llu,"
      "\"cpu_seconds\":%.3f",
      static_cast<unsigned long long>(attestations), report.seconds, rate, p50, p90, p99, most,
      to_json(t.verdicts).c_str(), to_json(t.failures).c_str(), to_json(t.disturbers).c_str(),
      static_cast<unsigned long long>(t.wrong), static_cast<unsigned long long>(t.connections),
      static_cast<unsigned long long>(t.repeated),
      static_cast<unsigned long long>(bytes), report.cpu_seconds);
  if (server.cpu_seconds) std::printf(",\"server_cpu_seconds\":%.3f", *server.cpu_seconds);
  if (server.resident_before && server.resident_at_rest)
    std::printf(",\"server_resident_bytes\":{\"before\":%llu,\"at_rest\":%llu}",
                static_cast<unsigned long long>(*server.resident_before),
                static_cast<unsigned long long>(*server.resident_at_rest));
  std::puts("}");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Simulated endpoints, thousands at once, against a running server."};
  app.set_version_flag("--version", "gatehouse-fleet " GATEHOUSE_VERSION);
  app.require_subcommand(1);

  fleet::MakeOptions make;
  std::string ak = "rsa";
  CLI::App* const making = app.add_subcommand("make", "Make a fleet on disk, with what the server has to know of it");
  making->add_option("DIR", make.fleet.folder, "where")->required();
  making->add_option("--endpoints", make.fleet.endpoints, "how many")->required()->check(CLI::Range(1, 10'000'000));
  making->add_option("--refdb", make.references, "reference store whose files the endpoints have")->required();
  making->add_option("--product", make.fleet.product, "of the store, as the endpoints name theirs")->required();
  making->add_option("--ak", ak, "algorithm of the attestation keys")->check(CLI::IsMember({"rsa", "ecc"}));
  making->add_option("--keys", make.fleet.keys,
                     "folder of attestation keys: those that are there are used; default: DIR/keys");
  making->add_option("--images", make.fleet.images, "groups with the same software")->check(CLI::Range(1, 10'000));
  making->add_option("--bios", make.fleet.boot, "firmware events")->check(CLI::Range(1, 60'000));
  making->add_option("--ima", make.fleet.ima, "files in the IMA list")->check(CLI::Range(0, 10'000'000));
  making->add_option("--unknown", make.fleet.unknown, "of them without a reference");
  making->add_option("--more", make.fleet.more, "files that are there for run --grow")->check(CLI::Range(0, 1'000'000));
  making->add_option("--seed", make.fleet.seed, "other files and events");
  making->add_option("--threads", make.threads, "default: the processors");
  making->footer(
      "Example:\n  gatehouse-fleet make fleet --endpoints 1000 --refdb refdb --product \"Debian 12 x86_64\"\n"
      "  gatehouse device import --state state fleet/devices.jsonl");

  fleet::RunOptions run;
  std::string server, radius, expect;
  int pid = 0;
  bool as_json = false;
  run.threads = std::max(std::thread::hardware_concurrency(), 1U);
  CLI::App* const running = app.add_subcommand("run", "Let a fleet attest");
  running->add_option("DIR", run.folder, "the fleet")->required();
  running->add_option("--server", server, "HOST:PORT");
  running->add_option("--radius", radius, "HOST:PORT: over RADIUS, EAP-TTLS and PT-EAP, and play the gateways, too");
  running->add_option("--secret-file", run.secret_file, "with --radius: file whose first line is the shared secret");
  running->add_option("--fragment-size", run.fragment_size, "with --radius: bytes of an EAP packet")->check(CLI::Range(256, 3072));
  running->add_option("--per-gateway", run.per_gateway, "with --radius: conversations by one socket of a gateway's at a time; default: 1")
      ->check(CLI::Range(1, 128));
  running->add_option("--loss", run.loss, "with --radius: share of the datagrams of each direction that get lost")
      ->check(CLI::Range(0.0, 1.0));
  running->add_option("--late", run.late, "with --radius: share of the requests that come once more after the next one")
      ->check(CLI::Range(0.0, 1.0));
  running->add_option("--resend", run.resend, "with --radius: seconds until a request is sent again, at first")
      ->check(CLI::PositiveNumber);
  running->add_option("--ca", run.ca, "CA certificates of the server, PEM; default: its certificate isn't checked");
  running->add_flag("--no-certificate", run.no_certificate, "without client certificates");
  running->add_option("--user", run.user, "user name, where the server asks for a password");
  running->add_option("--password-file", run.password_file, "its password, in the first line");
  running->add_flag("--keep", run.keep, "one connection for all attestations of an endpoint");
  running->add_option("--concurrency", run.concurrency, "attestations at a time")
      ->required()
      ->check(CLI::Range(1, 1'000'000));
  auto* const count = running->add_option("--attestations", run.attestations, "how many")->check(CLI::PositiveNumber);
  auto* const rate = running->add_option("--rate", run.rate, "arrivals a second, whatever the server does")
                         ->check(CLI::PositiveNumber);
  auto* const duration = running->add_option("--duration", run.duration, "seconds in which attestations begin")
                             ->check(CLI::PositiveNumber);
  running->add_option("--ramp", run.ramp, "seconds until all of --concurrency are at work")->excludes(rate);
  running->add_option("--hold", run.hold, "seconds that connections stay after the last attestation (with --keep)");
  running->add_option("--timeout", run.timeout, "seconds of one attestation")->check(CLI::PositiveNumber);
  running->add_option("--threads", run.threads, "default: the processors")->check(CLI::Range(1, 256));
  running->add_option("--expect", expect, "the verdict of every honest endpoint; another one, or a failure: exit 1")
      ->check(CLI::IsMember({"allow", "isolate", "block", "none"}));
  running->add_option("--server-pid", pid, "process whose CPU time and memory are told");
  const std::pair<const char*, std::pair<double*, const char*>> shares[] = {
      {"--changed", {&run.changed, "share of attestations in which a file has other content"}},
      {"--forged", {&run.forged, "share in which the list isn't the one that the quote covers"}},
      {"--slow", {&run.slow, "share that reads and writes a little at a time"}},
      {"--stalled", {&run.stalled, "share that says nothing after the TLS handshake"}},
      {"--vanishing", {&run.vanishing, "share that is gone in the middle"}}};
  for (const auto& [name, share] : shares)
    running->add_option(name, *share.first, share.second)->check(CLI::Range(0.0, 1.0));
  running->add_option("--grow", run.grow, "files that an endpoint has more at each of its attestations");
  running->add_option("--seed", run.seed, "other draws");
  running->add_flag("--json", as_json, "one JSON object on standard output");
  running->footer(
      "Example:\n  gatehouse-fleet run fleet --server 127.0.0.1:271 --concurrency 64 --attestations 20000 --expect "
      "allow --json\n"
      "  gatehouse-fleet run fleet --radius 127.0.0.1:1812 --secret-file gateways.secret --ca ca.pem --concurrency 1000 \\\n"
      "    --attestations 5000 --loss 0.05 --late 0.05 --timeout 300");
  try {
    app.parse(argc, argv);
    if (running->parsed() && server.empty() == radius.empty()) throw CLI::ValidationError("run", "wants --server or --radius");
    if (running->parsed() && radius.empty() != run.secret_file.empty())
      throw CLI::ValidationError("run", "--radius and --secret-file go together");
    if (running->parsed() && !radius.empty() && (run.ca.empty() || run.keep || run.slow > 0))
      throw CLI::ValidationError("--radius", "wants --ca, and goes neither with --keep nor with --slow");
    if (running->parsed() && !split_server(server.empty() ? radius : server, run))
      throw CLI::ValidationError(server.empty() ? "--radius" : "--server", "wants HOST:PORT");
    if (running->parsed() && count->count() + duration->count() != 1)
      throw CLI::ValidationError("run", "wants --attestations or --duration");
    if (running->parsed() && (run.user.empty() != run.password_file.empty()))
      throw CLI::ValidationError("run", "--user and --password-file go together");
    if (making->parsed() && make.fleet.unknown > make.fleet.ima)
      throw CLI::ValidationError("--unknown", "is more than --ima");
    if (run.changed + run.forged + run.slow + run.stalled + run.vanishing > 1)
      throw CLI::ValidationError("run", "the shares are more than all");
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // contract, exit codes
  }
  if (making->parsed()) {
    make.fleet.ak = ak == "ecc" ? endpoint::KeyAlgorithm::ecc : endpoint::KeyAlgorithm::rsassa;
    if (make.fleet.keys.empty()) make.fleet.keys = make.fleet.folder + "/keys";
    const auto made = fleet::make_fleet(make);
    return made ? 0 : give_up(made.error());
  }

  struct sigaction action {};
  action.sa_handler = [](int) { stop = true; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Server seen;
  if (pid != 0 && run.hold > 0) seen.resident_before = fleet::resident_bytes_at_rest(pid, stop);
  const auto before = pid != 0 ? fleet::cpu_seconds_of(pid) : std::nullopt;
  if (pid != 0 && !before)
    return give_up({Fault::usage, "there is no such process, or it isn't ours to see", {}, 0, std::to_string(pid), {}});
  if (before) {
    run.at_rest = [&] {
      if (const auto after = fleet::cpu_seconds_of(pid)) seen.cpu_seconds = *after - *before;
      if (run.hold > 0) seen.resident_at_rest = fleet::resident_bytes_at_rest(pid, stop);
    };
  }
  const auto report = fleet::run_fleet(run, stop);
  if (!report) return give_up(report.error());
  print(*report, seen, as_json);
  const fleet::Tally& t = report->tally;
  if (t.verdicts.empty() && !t.failures.empty()) return 4;
  if (t.wrong != 0) return 1;
  if (expect.empty()) return 0;
  return t.failures.empty() && std::ranges::all_of(t.honest_verdicts, [&](const auto& v) { return v.first == expect; })
             ? 0
             : 1;
}
