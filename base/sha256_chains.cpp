#include "base/sha256_chains.h"

// OpenSSL 3.0 counts its block function as deprecated.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/error.h"

#ifdef __x86_64__
// GCC 12 warns inside its own intrinsics (GCC bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace gatehouse {
namespace {

void take(Sha256Chain& chain, std::size_t steps) { chain.digests = chain.digests.subspan(steps * sha256_size); }

// Two blocks, the second of them always the same: nothing is left to be kept or padded.
void advance_openssl(Sha256Chain* chains, std::size_t, std::size_t steps) {
  static constexpr std::array<unsigned char, 64> padding = [] {
    std::array<unsigned char, 64> out{};
    out[0] = 0x80;
    out[62] = 2;  // 512 bits, big-endian
    return out;
  }();
  std::array<unsigned char, 64> message;
  std::memcpy(message.data(), chains->value, sha256_size);
  for (std::size_t n = 0; n < steps; ++n) {
    std::memcpy(message.data() + sha256_size, chains->digests.data() + n * sha256_size, sha256_size);
    SHA256_CTX sha256;
    GH_ASSERT(SHA256_Init(&sha256) == 1);
    SHA256_Transform(&sha256, message.data());
    SHA256_Transform(&sha256, padding.data());
    for (std::size_t i = 0; i < sha256_size; ++i)
      message[i] = static_cast<unsigned char>(sha256.h[i / 4] >> (24 - 8 * (i % 4)));
  }
  std::memcpy(chains->value, message.data(), sha256_size);
  take(*chains, steps);
}

#ifdef __x86_64__

constexpr std::uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

constexpr std::uint32_t rotate(std::uint32_t x, int n) { return x >> n | x << (32 - n); }

// The padding block's expanded schedule, with the round constants added.
struct Padding {
  alignas(16) std::uint32_t wk[64];
  constexpr Padding() : wk{} {
    std::uint32_t w[64] = {0x80000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 512};
    for (int i = 16; i < 64; ++i)
      w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
             (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 64; ++i) wk[i] = w[i] + k[i];
  }
};
constexpr Padding padding_block;

#define GH_SHANI_TARGET "sha,sse4.1,ssse3"
#define GH_SHANI __attribute__((target(GH_SHANI_TARGET), always_inline)) inline

GH_SHANI __m128i load(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
GH_SHANI void store(void* to, __m128i value) { _mm_storeu_si128(static_cast<__m128i*>(to), value); }

template <int S>
GH_SHANI void four_rounds(__m128i (&abef)[S], __m128i (&cdgh)[S], const __m128i (&wk)[S]) {
  for (int l = 0; l < S; ++l) cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], wk[l]);
  for (int l = 0; l < S; ++l) abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(wk[l], 0x0E));
}

// S chains interleaved.
template <int S>
GH_SHANI void extend_shani(std::byte* const (&values)[S], const std::byte* const (&digests)[S], std::size_t steps) {
  const __m128i swap = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
  const __m128i abef0 = _mm_set_epi32(int(initial[0]), int(initial[1]), int(initial[4]), int(initial[5]));
  const __m128i cdgh0 = _mm_set_epi32(int(initial[2]), int(initial[3]), int(initial[6]), int(initial[7]));
  __m128i low[S], high[S];  // words 0-3 and 4-7 of the value
  for (int l = 0; l < S; ++l) {
    low[l] = _mm_shuffle_epi8(load(values[l]), swap);
    high[l] = _mm_shuffle_epi8(load(values[l] + 16), swap);
  }
  for (std::size_t n = 0; n < steps; ++n) {
    __m128i m[S][4], abef[S], cdgh[S], abef1[S], cdgh1[S], wk[S];
    for (int l = 0; l < S; ++l) {
      const std::byte* const digest = digests[l] + n * sha256_size;
      m[l][0] = low[l];
      m[l][1] = high[l];
      m[l][2] = _mm_shuffle_epi8(load(digest), swap);
      m[l][3] = _mm_shuffle_epi8(load(digest + 16), swap);
      abef[l] = abef0;
      cdgh[l] = cdgh0;
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      for (int l = 0; l < S; ++l) {
        __m128i(&w)[4] = m[l];
        if (i >= 4)
          w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                                        _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4)),
                                          w[(i + 3) & 3]);
        wk[l] = _mm_add_epi32(w[i & 3], load(k + 4 * i));
      }
      four_rounds<S>(abef, cdgh, wk);
    }
    for (int l = 0; l < S; ++l) {
      abef1[l] = abef[l] = _mm_add_epi32(abef[l], abef0);
      cdgh1[l] = cdgh[l] = _mm_add_epi32(cdgh[l], cdgh0);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      for (int l = 0; l < S; ++l) wk[l] = load(padding_block.wk + 4 * i);
      four_rounds<S>(abef, cdgh, wk);
    }
    for (int l = 0; l < S; ++l) {
      abef[l] = _mm_add_epi32(abef[l], abef1[l]);  // words F E B A from the lowest
      cdgh[l] = _mm_add_epi32(cdgh[l], cdgh1[l]);  // H G D C
      low[l] = _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh[l], abef[l]), 0x1B);   // D C B A -> A B C D
      high[l] = _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh[l], abef[l]), 0x1B);  // H G F E -> E F G H
    }
  }
  for (int l = 0; l < S; ++l) {
    store(values[l], _mm_shuffle_epi8(low[l], swap));
    store(values[l] + 16, _mm_shuffle_epi8(high[l], swap));
  }
}

__attribute__((target(GH_SHANI_TARGET))) void advance_shani_1(Sha256Chain* chains, std::size_t, std::size_t steps) {
  extend_shani<1>({chains->value}, {chains->digests.data()}, steps);
  take(*chains, steps);
}
__attribute__((target(GH_SHANI_TARGET))) void advance_shani_2(Sha256Chain* chains, std::size_t count, std::size_t steps) {
  if (count == 1) return advance_shani_1(chains, 1, steps);
  extend_shani<2>({chains[0].value, chains[1].value}, {chains[0].digests.data(), chains[1].digests.data()}, steps);
  take(chains[0], steps);
  take(chains[1], steps);
}

#define GH_AVX512_TARGET "avx512f,avx512bw,avx512vl"
#define GH_AVX512 __attribute__((target(GH_AVX512_TARGET), always_inline)) inline
constexpr std::size_t lanes = 16;

GH_AVX512 __m512i sum0(__m512i x) {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22), 0x96);
}
GH_AVX512 __m512i sum1(__m512i x) {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25), 0x96);
}
GH_AVX512 __m512i sigma0(__m512i x) {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3), 0x96);
}
GH_AVX512 __m512i sigma1(__m512i x) {
  return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10), 0x96);
}
GH_AVX512 void round(__m512i (&s)[8], __m512i wk) {
  const __m512i t1 = _mm512_add_epi32(_mm512_add_epi32(s[7], sum1(s[4])),
                                      _mm512_add_epi32(_mm512_ternarylogic_epi32(s[4], s[5], s[6], 0xCA), wk));
  const __m512i t2 = _mm512_add_epi32(sum0(s[0]), _mm512_ternarylogic_epi32(s[0], s[1], s[2], 0xE8));
  s[7] = s[6];
  s[6] = s[5];
  s[5] = s[4];
  s[4] = _mm512_add_epi32(s[3], t1);
  s[3] = s[2];
  s[2] = s[1];
  s[1] = s[0];
  s[0] = _mm512_add_epi32(t1, t2);
}

GH_AVX512 __m128i four_words(const std::byte* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

// Word i of each lane's 32 bytes, big-endian, in out[i]: four lanes' halves in a register, then 4 × 4 words in each of its
// parts.
GH_AVX512 void load_words(const std::byte* const (&from)[lanes], std::size_t offset, __m512i (&out)[8]) {
  const __m512i swap = _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  for (std::size_t part = 0; part < 2; ++part) {
    const std::size_t at = offset + 16 * part;
    __m512i row[4];  // row r: lanes r, r + 4, r + 8, r + 12
    for (std::size_t r = 0; r < 4; ++r) {
      __m512i four = _mm512_castsi128_si512(four_words(from[r] + at));
      four = _mm512_inserti32x4(four, four_words(from[r + 4] + at), 1);
      four = _mm512_inserti32x4(four, four_words(from[r + 8] + at), 2);
      four = _mm512_inserti32x4(four, four_words(from[r + 12] + at), 3);
      row[r] = _mm512_shuffle_epi8(four, swap);
    }
    const __m512i a = _mm512_unpacklo_epi32(row[0], row[1]), b = _mm512_unpackhi_epi32(row[0], row[1]);
    const __m512i c = _mm512_unpacklo_epi32(row[2], row[3]), d = _mm512_unpackhi_epi32(row[2], row[3]);
    out[4 * part] = _mm512_unpacklo_epi64(a, c);
    out[4 * part + 1] = _mm512_unpackhi_epi64(a, c);
    out[4 * part + 2] = _mm512_unpacklo_epi64(b, d);
    out[4 * part + 3] = _mm512_unpackhi_epi64(b, d);
  }
}

__attribute__((target(GH_AVX512_TARGET))) void advance_avx512(Sha256Chain* chains, std::size_t count, std::size_t steps) {
  // Lanes to spare do the first one's work once more.
  const std::byte *values[lanes], *digests[lanes];
  for (std::size_t l = 0; l < lanes; ++l) {
    values[l] = chains[l < count ? l : 0].value;
    digests[l] = chains[l < count ? l : 0].digests.data();
  }
  __m512i value[8];
  load_words(values, 0, value);
  for (std::size_t n = 0; n < steps; ++n) {
    __m512i w[16], s[8], middle[8];
    load_words(digests, n * sha256_size, s);
    for (int i = 0; i < 8; ++i) {
      w[i] = value[i];
      w[8 + i] = s[i];
    }
    for (int i = 0; i < 8; ++i) s[i] = _mm512_set1_epi32(int(initial[i]));
#pragma GCC unroll 64
    for (int t = 0; t < 64; ++t) {
      if (t >= 16)
        w[t & 15] = _mm512_add_epi32(_mm512_add_epi32(w[t & 15], sigma0(w[(t + 1) & 15])),
                                     _mm512_add_epi32(w[(t + 9) & 15], sigma1(w[(t + 14) & 15])));
      round(s, _mm512_add_epi32(w[t & 15], _mm512_set1_epi32(int(k[t]))));
    }
    for (int i = 0; i < 8; ++i) middle[i] = s[i] = _mm512_add_epi32(s[i], _mm512_set1_epi32(int(initial[i])));
#pragma GCC unroll 64
    for (int t = 0; t < 64; ++t) round(s, _mm512_set1_epi32(int(padding_block.wk[t])));
    for (int i = 0; i < 8; ++i) value[i] = _mm512_add_epi32(s[i], middle[i]);
  }
  alignas(64) std::uint32_t words[8][lanes];
  for (int i = 0; i < 8; ++i) _mm512_store_si512(words[i], value[i]);
  for (std::size_t l = 0; l < count; ++l) {
    for (std::size_t i = 0; i < 8; ++i) {
      const std::uint32_t big = __builtin_bswap32(words[i][l]);
      std::memcpy(chains[l].value + 4 * i, &big, sizeof big);
    }
    take(chains[l], steps);
  }
}

bool has_sha_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
}

#endif  // __x86_64__

struct Kernels {
  std::array<Sha256Kernel, 4> all{{{"OpenSSL, one chain at a time", 1, advance_openssl}}};
  std::size_t count = 1;
  // Indices in `all`, and the number of chains from which the widest one pays.
  std::size_t one = 0, few = 0, many = 0, many_from = ~std::size_t(0);

  Kernels() {
#ifdef __x86_64__
    if (has_sha_instructions()) {
      all[one = count++] = {"SHA instructions, one chain", 1, advance_shani_1};
      all[few = count++] = {"SHA instructions, two chains interleaved", 2, advance_shani_2};
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      all[many = count++] = {"AVX-512, 16 chains in lanes", lanes, advance_avx512};
      // A step of all lanes takes as long as 7 of two interleaved chains on an AMD Zen 4, as 4 on an Intel Sapphire Rapids.
      many_from = few == 0 ? 5 : __builtin_cpu_is("amd") ? 14 : 8;
    }
#endif
  }
};
const Kernels& kernels() {
  static const Kernels one;
  return one;
}

}  // namespace

std::span<const Sha256Kernel> sha256_kernels() { return {kernels().all.data(), kernels().count}; }

const Sha256Kernel& sha256_kernel_for(std::size_t chains) {
  const Kernels& which = kernels();
  return which.all[chains >= which.many_from ? which.many : chains >= 2 ? which.few : which.one];
}

void extend_chains(std::span<Sha256Chain> chains) {
  for (const Sha256Chain& chain : chains) GH_ASSERT(chain.digests.size() % sha256_size == 0);
  // The longest first: what is left at the end, too little to fill a kernel, is short.
  std::sort(chains.begin(), chains.end(), [](const Sha256Chain& a, const Sha256Chain& b) { return a.digests.size() > b.digests.size(); });
  for (;;) {
    // Stable: chains that wait come to the front as others end.
    const auto left = std::remove_if(chains.begin(), chains.end(), [](const Sha256Chain& c) { return c.digests.empty(); });
    chains = chains.first(std::size_t(left - chains.begin()));
    if (chains.empty()) return;
    const Sha256Kernel& kernel = sha256_kernel_for(chains.size());
    const std::size_t count = std::min(kernel.width, chains.size());
    std::size_t steps = chains[0].digests.size();
    for (std::size_t c = 1; c < count; ++c) steps = std::min(steps, chains[c].digests.size());
    kernel.advance(chains.data(), count, steps / sha256_size);
  }
}

void extend_sha256(std::byte* value, const std::byte* digest) {
  Sha256Chain chain{value, {digest, sha256_size}};
  sha256_kernel_for(1).advance(&chain, 1, 1);
}

}  // namespace gatehouse
