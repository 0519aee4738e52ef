// Endpoints of a fleet that attest, many at once: what they got and how long it took.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/fleet.h"

namespace gatehouse::fleet {

struct RunOptions {
  std::string folder;
  std::string host, port;
  std::string ca;                   // PEM; empty: the server's certificate isn't checked
  std::string user, password_file;  // SASL; empty: the client certificates alone
  bool no_certificate = false;
  // Over RADIUS, with the gateway played, too: the file of the shared secret; empty: over PT-TLS.
  std::string secret_file;
  std::size_t fragment_size = 1'024;  // EAP packets
  std::size_t per_gateway = 1;        // conversations by one socket of a gateway's at a time
  double loss = 0, late = 0;          // shares of datagrams that are lost, and of requests that come again after the next one
  double resend = 2;                  // seconds until a request is sent again for the first time
  bool keep = false;                        // one connection an endpoint, for all its attestations
  std::uint32_t concurrency = 1;            // attestations at a time; with a rate: no more of them
  std::uint64_t attestations = 0;           // 0: see duration
  double rate = 0;                          // arrivals each second, whatever the server does; 0: one after the other
  double duration = 0, ramp = 0, hold = 0;  // seconds; hold: connections stay so long after the last attestation
  double timeout = 60;                      // of one attestation, from its arrival on
  unsigned threads = 1;
  std::uint64_t seed = 1;
  // Shares of the attestations, 0 to 1: with a changed file; with evidence that the quote doesn't cover; of endpoints
  // that read and write a little at a time; that say nothing after the handshake; that are gone in the middle.
  double changed = 0, forged = 0, slow = 0, stalled = 0, vanishing = 0;
  std::uint32_t grow = 0;  // entries that an endpoint's list gets from one of its attestations to the next
  bool quiet = false;      // nothing on standard error
  // Called once, when the last attestation is over and the connections that are kept are still there: in some thread,
  // and they stay until it returns.
  std::function<void()> at_rest;
};

// What the report counts apart.
enum class Manner : std::uint8_t { honest, changed, forged, slow, stalled, vanishing };
inline constexpr std::string_view manner_names[] = {"honest", "changed", "forged", "slow", "stalled", "vanishing"};

struct Tally {
  std::vector<float> latencies_ms;                                 // from arrival to verdict, of those who came to one
  std::map<std::string, std::uint64_t> verdicts, honest_verdicts;  // honest: of those whose evidence is good
  std::map<std::string, std::uint64_t> failures;                   // by reason
  std::map<std::string, std::uint64_t> disturbers;                 // slow, stalled and vanishing ones that did so
  std::uint64_t wrong = 0;                                         // bad evidence that was allowed
  std::uint64_t bytes_sent = 0, connections = 0, repeated = 0;  // repeated: requests over RADIUS
  void add(Tally&& other);
};

struct Report {
  Tally tally;
  double seconds = 0, cpu_seconds = 0;  // until the last attestation was over
};
// Until it is done, or `stop` is set.
Result<Report> run_fleet(const RunOptions& options, const std::atomic<bool>& stop);

// A process's CPU seconds so far; nullopt: there is no such process, or it isn't ours to see.
std::optional<double> cpu_seconds_of(int pid);
// Its resident memory in bytes; likewise.
std::optional<std::uint64_t> resident_bytes_of(int pid);
// The same of a server that isn't at work any more: once it has given back what its work took, which takes it a second
// or two. Ten seconds at most, or until `stop` is set.
std::optional<std::uint64_t> resident_bytes_at_rest(int pid, const std::atomic<bool>& stop);

}  // namespace gatehouse::fleet
