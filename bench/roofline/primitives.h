// The bare primitives that one attestation needs, each measured in its best known shape on this machine and now, without
// any of Gatehouse's plumbing. Server side only; microseconds of CPU time of the calling thread, medians.
#pragma once

#include <cstddef>
#include <string>

namespace gatehouse::bench {

struct Workload {
  std::size_t boot = 136, ima = 1732;
  std::size_t evidence_bytes = 272'000;  // what the recorded conversations carry
  bool mutual = true;                     // the client has a certificate
  bool rsa = true;                        // the AK; else ECC P-256
  bool kept = false;                      // re-attestation on a connection that is there
};

struct Primitives {
  double tls_handshake = 0, records = 0, nonce = 0, extend = 0, lookup = 0, quote = 0;
  double handshake_physical = 0, nonce_physical = 0;  // public-key operations alone
  std::string extend_shape;

  double sum() const { return tls_handshake + records + nonce + extend + lookup + quote; }
  double physical() const { return handshake_physical + records + nonce_physical + extend + lookup + quote; }
};

// `rounds`: how often each primitive is measured (the median counts).
Primitives measure_primitives(const Workload& workload, int rounds);

// What any server pays for such a conversation that has this TLS library and this kernel's sockets, and does nothing with
// what comes: the recorded conversation's bytes both ways over loopback, `at_once` connections on one thread, whose CPU time
// it is, user and system, microseconds a conversation. With `kept`, each connection has many and its handshake isn't counted.
double measure_transport(const Workload& workload, std::size_t conversations, std::size_t at_once = 16);

// CPU time of the calling thread in microseconds.
double thread_cpu_us();

}  // namespace gatehouse::bench
