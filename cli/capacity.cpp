#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/capacity_measure.h"
#include "cli/commands.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct Options {
  CapacityOptions measure;
  std::string ak = "rsa";
  double utilisation = 70;  // percent
  bool json = false;
};

std::atomic<bool> stop{false};

// On a terminal one line that is rewritten, else a plain line at most every 5 s.
class Progress {
 public:
  void operator()(const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ && shown_ && now - last_ < std::chrono::seconds(5)) return;
    last_ = now;
    shown_ = true;
    std::fprintf(stderr, terminal_ ? "\r\x1b[Kgatehouse: measuring: %s" : "gatehouse: measuring: %s\n", what.c_str());
  }
  void end() const {
    if (terminal_ && shown_) std::fputs("\n", stderr);
  }

 private:
  const bool terminal_ = ::isatty(2) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

struct Interval {
  const char* name;
  unsigned seconds;
};
constexpr Interval intervals[] = {{"5 min", 300}, {"15 min", 900}, {"1 h", 3600}, {"4 h", 14'400}, {"24 h", 86'400}};

// Attestations a second that all processors carry with that share of their time.
double per_second(const AttestationCost& cost, unsigned processors, double share) {
  return share * processors * 1e6 / cost.cpu_us;
}

struct Bound {
  std::uint64_t endpoints;
  const char* by;
};
// Kept connections take memory whatever the interval.
Bound kept_endpoints(const Capacity& c, double share, unsigned seconds) {
  const double cpu = per_second(c.kept, c.processors, share) * seconds;
  const double memory = c.idle_connection_bytes > 0 ? share * double(c.memory_available_bytes) / c.idle_connection_bytes : cpu;
  return cpu <= memory ? Bound{std::uint64_t(cpu), "cpu"} : Bound{std::uint64_t(memory), "memory"};
}
std::uint64_t first_endpoints(const Capacity& c, double share, unsigned seconds) {
  return std::uint64_t(per_second(c.first, c.processors, share) * seconds);
}

json::object cost_object(const AttestationCost& cost, unsigned processors, double share) {
  json::object out;
  out["cpu_us"] = cost.cpu_us;
  out["spread"] = cost.spread;
  out["attestations"] = cost.attestations;
  out["per_second"] = per_second(cost, processors, share);
  return out;
}

int print_json(const Options& o, const Capacity& c, double share) {
  json::object out;
  out["processors"] = c.processors;
  out["utilisation"] = share;
  out["workload"] = {{"boot", o.measure.boot}, {"ima", o.measure.ima}, {"bank", "sha256"}, {"tls", "mutual"}, {"ak", o.ak}};
  out["first"] = cost_object(c.first, c.processors, share);
  out["kept"] = cost_object(c.kept, c.processors, share);
  out["idle_connection_bytes"] = std::uint64_t(c.idle_connection_bytes);
  out["memory_available_bytes"] = c.memory_available_bytes;
  json::array rows;
  for (const Interval& interval : intervals) {
    const Bound kept = kept_endpoints(c, share, interval.seconds);
    json::object row;
    row["interval_seconds"] = interval.seconds;
    row["first"] = {{"endpoints", first_endpoints(c, share, interval.seconds)}};
    row["kept"] = {{"endpoints", kept.endpoints}, {"limit", kept.by}};
    rows.push_back(std::move(row));
  }
  out["intervals"] = std::move(rows);
  out["seconds"] = c.seconds;
  std::cout << json::serialize(out) << '\n';
  return flushed();
}

int print_text(const Options& o, const Capacity& c, double share) {
  const auto line = [](const char* what, const AttestationCost& cost, double rate) {
    char text[200];
    std::snprintf(text, sizeof text, "%s: %.0f us of CPU (spread %.0f %% over the rounds): %.0f a second\n", what, cost.cpu_us,
                  100 * cost.spread, rate);
    std::cout << text;
  };
  char text[300];
  std::snprintf(text, sizeof text,
                "%u processors at %.0f %%; %u firmware events and %u files an endpoint, mutual TLS 1.3, %s attestation keys\n",
                c.processors, o.utilisation, o.measure.boot, o.measure.ima, o.ak == "rsa" ? "RSA" : "ECC");
  std::cout << text;
  line("attestation on a new connection", c.first, per_second(c.first, c.processors, share));
  line("attestation on a kept connection", c.kept, per_second(c.kept, c.processors, share));
  std::snprintf(text, sizeof text, "idle connection: %.1f KiB; %.1f GiB of memory are available\n\n", c.idle_connection_bytes / 1024,
                double(c.memory_available_bytes) / (1 << 30));
  std::cout << text << "an attestation every   endpoints, new connections   endpoints, kept connections\n";
  for (const Interval& interval : intervals) {
    const Bound kept = kept_endpoints(c, share, interval.seconds);
    std::snprintf(text, sizeof text, "%-20s   %26llu   %27llu%s\n", interval.name,
                  static_cast<unsigned long long>(first_endpoints(c, share, interval.seconds)),
                  static_cast<unsigned long long>(kept.endpoints),
                  std::string_view(kept.by) == "memory" ? "  (memory)" : "");
    std::cout << text;
  }
  return flushed();
}

int run_capacity(Options& o) {
  struct sigaction action {};
  action.sa_handler = [](int) { stop = true; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Progress progress;
  o.measure.rsa = o.ak == "rsa";
  o.measure.progress = [&](const std::string& what) { progress(what); };
  const auto measured = measure_capacity(o.measure, stop);
  progress.end();
  if (!measured) return complain(measured.error());
  const double share = o.utilisation / 100;
  return o.json ? print_json(o, *measured, share) : print_text(o, *measured, share);
}

}  // namespace

void add_capacity(CLI::App& app, Run& run) {
  const auto o = std::make_shared<Options>();
  std::error_code ec;
  o->measure.folder = std::filesystem::temp_directory_path(ec).string();
  CLI::App* const command =
      app.add_subcommand("capacity", "Measure this machine, and say how many endpoints it carries at which interval");
  command->add_option("--seconds", o->measure.seconds, "of measuring; preparing comes on top")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--utilisation", o->utilisation, "percent of CPU time and memory that may be used in the mean")
      ->check(CLI::Range(1.0, 100.0))
      ->capture_default_str();
  command->add_option("--ak", o->ak, "algorithm of the endpoints' attestation keys: rsa or ecc")
      ->check(CLI::IsMember({"rsa", "ecc"}))
      ->capture_default_str();
  command->add_option("--bios", o->measure.boot, "firmware events of an endpoint")->check(CLI::Range(16, 60'000))->capture_default_str();
  command->add_option("--ima", o->measure.ima, "files in an endpoint's IMA list")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  command->add_option("--unknown", o->measure.unknown, "of them without a reference")->check(CLI::Range(0, 1'000'000))->capture_default_str();
  command->add_option("--folder", o->measure.folder, "where a temporary folder is made")->check(CLI::ExistingDirectory)->capture_default_str();
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->footer(
      "Example:\n  gatehouse capacity\n\n"
      "Simulated endpoints attest to a server in a process of its own, on the loopback interface; what counts is that\n"
      "process's CPU time. A server that is running isn't touched, but does share the processors. See\n"
      "docs/performance.md.");
  command->callback([o, &run] {
    if (o->measure.unknown > o->measure.ima) throw CLI::ValidationError("--unknown", "is more than --ima");
    run = [o] { return run_capacity(*o); };
  });
}

}  // namespace gatehouse::cli
