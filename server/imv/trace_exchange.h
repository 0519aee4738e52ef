// What a trace keeps of a DH Nonce exchange (spec part 2 §1.4-1.6), so that it can be replayed. The secret is told too:
// a trace's folder is as private as the state.
#pragma once

#include "server/imv/host.h"

namespace gatehouse::server {

inline void trace_exchange(Host& host, HashAlgorithm bank, HashAlgorithm hash, std::uint16_t group, Bytes own_nonce,
                           Bytes endpoint_nonce, Bytes secret) {
  host.trace_fact("measurement_algorithm", name(bank));
  host.trace_fact("dh_hash", name(hash));
  host.trace_fact("dh_group", group == pts::group_ecp256   ? "ecp256"
                              : group == pts::group_ecp384 ? "ecp384"
                                                           : "modp2048");
  host.trace_fact("initiator_nonce", own_nonce);
  host.trace_fact("responder_nonce", endpoint_nonce);
  host.trace_fact("dh_secret", secret);
}

}  // namespace gatehouse::server
