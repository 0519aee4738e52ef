// What an attestation and an idle connection cost the server on this machine: simulated endpoints on the loopback
// interface attest to a server of ours in a process of its own, over TLS 1.3 with client certificates.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"

namespace gatehouse::cli {

struct CapacityOptions {
  double seconds = 60;                 // of attesting, in all; preparing comes on top
  bool rsa = true;                     // the endpoints' attestation keys; else ECC P-256
  std::string folder;                  // where a temporary folder is made
  std::uint32_t boot = 136;            // firmware events of an endpoint
  std::uint32_t ima = 1732;            // files in its list; `unknown` of them have no reference
  std::uint32_t unknown = 107;
  std::function<void(const std::string& what)> progress;
};

// The server's CPU time of one attestation: the median of the rounds' means.
struct AttestationCost {
  double cpu_us = 0;
  double spread = 0;  // (most - least) / median of the rounds
  std::uint64_t attestations = 0;
};

struct Capacity {
  AttestationCost first;  // connection, handshake, assessment
  AttestationCost kept;   // another assessment on the same connection
  double idle_connection_bytes = 0;  // resident memory of the server's process
  unsigned processors = 0;
  std::uint64_t memory_available_bytes = 0;  // of the machine, before the measurement
  double seconds = 0;                        // that it took, with preparing
};

// Forks: before the program has another thread. `stop` ends it early, with Fault::environment.
Result<Capacity> measure_capacity(const CapacityOptions& options, const std::atomic<bool>& stop);

}  // namespace gatehouse::cli
