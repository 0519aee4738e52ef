// PCR extension in its best known shape: PCR_new = SHA-256(PCR_old || digest) for 16 independent chains at once in
// AVX-512 lanes, else one chain with the CPU's SHA instructions, else OpenSSL's low-level code. A yardstick for the
// roofline: the server has its own chain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gatehouse::bench {

inline constexpr std::size_t lanes = 16;

// Extends chain l (8 big-endian words as host integers) with digests[l * count .. + count), 32 bytes each, for all
// lanes. Returns the name of the shape that was used.
std::string_view extend_chains(std::uint32_t (&state)[lanes][8], const unsigned char* digests, std::size_t count);
// The plain way, for the equality check.
void extend_chain_plain(std::uint32_t (&state)[8], const unsigned char* digests, std::size_t count);

}  // namespace gatehouse::bench
