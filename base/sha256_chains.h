// PCR extension, value = SHA-256(value || digest), for many digests in order and several independent chains at once. One
// chain is bound by the latency of its rounds: two fill a core's SHA unit, sixteen lie side by side in AVX-512 lanes.
//
//   Sha256Chain chains[] = {{pcr_of_one_session, its_digests}, {pcr_of_another, its_digests}};
//   extend_chains(chains);
//
// The CPU decides which kernels there are, the number of chains that are left decides which of them runs; all of them
// give the same bytes. Safe on any number of threads.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/bytes.h"

namespace gatehouse {

inline constexpr std::size_t sha256_size = 32;

struct Sha256Chain {
  std::byte* value = nullptr;  // 32 bytes
  Bytes digests{};             // n × 32 bytes; what is still to be extended
};

// To the end of each chain. Their order in the span is lost.
void extend_chains(std::span<Sha256Chain> chains);
// One step of one chain.
void extend_sha256(std::byte* value, const std::byte* digest);

// For tests and measurements.
struct Sha256Kernel {
  std::string_view name;
  std::size_t width;  // chains that it advances at once; fewer take as long
  // `count` chains, at most `width`, each by `steps` of its digests, which it has; they are taken off the chain.
  void (*advance)(Sha256Chain* chains, std::size_t count, std::size_t steps);
};
// Those that this CPU has; the first is OpenSSL's code.
std::span<const Sha256Kernel> sha256_kernels();
// The one that extend_chains() takes while so many chains have digests left.
const Sha256Kernel& sha256_kernel_for(std::size_t chains);

}  // namespace gatehouse
