#include "bench/roofline/sha256_lanes.h"

// GCC 12 warns inside its own intrinsics (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <openssl/evp.h>

#include <cstring>

namespace gatehouse::bench {
namespace {

constexpr std::uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

constexpr std::uint32_t rotate(std::uint32_t x, int n) { return x >> n | x << (32 - n); }

// The second block of a 64-byte message never changes: its expanded schedule, with the round constants added.
struct Padding {
  std::uint32_t wk[64];
  constexpr Padding() : wk{} {
    std::uint32_t w[64] = {0x80000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 512};
    for (int i = 16; i < 64; ++i)
      w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
             (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 64; ++i) wk[i] = w[i] + k[i];
  }
};
constexpr Padding padding;

#define GH_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl"), always_inline)) inline

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

__attribute__((target("avx512f,avx512bw,avx512vl"))) void extend_avx512(std::uint32_t (&state)[lanes][8],
                                                                         const unsigned char* digests, std::size_t count) {
  __m512i pcr[8];
  alignas(64) std::uint32_t column[lanes];
  for (int i = 0; i < 8; ++i) {
    for (std::size_t l = 0; l < lanes; ++l) column[l] = state[l][i];
    pcr[i] = _mm512_load_si512(column);
  }
  const __m512i lane_offsets = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(int(count * 32)));
  const __m512i swap = _mm512_broadcast_i32x4(_mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  for (std::size_t n = 0; n < count; ++n) {
    __m512i w[16];
    for (int i = 0; i < 8; ++i) {
      w[i] = pcr[i];
      w[8 + i] = _mm512_shuffle_epi8(_mm512_i32gather_epi32(lane_offsets, digests + n * 32 + std::size_t(i) * 4, 1), swap);
    }
    __m512i s[8];
    for (int i = 0; i < 8; ++i) s[i] = _mm512_set1_epi32(int(initial[i]));
#pragma GCC unroll 64
    for (int t = 0; t < 64; ++t) {
      if (t >= 16)
        w[t & 15] = _mm512_add_epi32(_mm512_add_epi32(w[t & 15], sigma0(w[(t + 1) & 15])),
                                     _mm512_add_epi32(w[(t + 9) & 15], sigma1(w[(t + 14) & 15])));
      round(s, _mm512_add_epi32(w[t & 15], _mm512_set1_epi32(int(k[t]))));
    }
    __m512i middle[8];
    for (int i = 0; i < 8; ++i) middle[i] = s[i] = _mm512_add_epi32(s[i], _mm512_set1_epi32(int(initial[i])));
#pragma GCC unroll 64
    for (int t = 0; t < 64; ++t) round(s, _mm512_set1_epi32(int(padding.wk[t])));
    for (int i = 0; i < 8; ++i) pcr[i] = _mm512_add_epi32(s[i], middle[i]);
  }
  for (int i = 0; i < 8; ++i) {
    _mm512_store_si512(column, pcr[i]);
    for (std::size_t l = 0; l < lanes; ++l) state[l][i] = column[l];
  }
}

#define GH_SHANI __attribute__((target("sha,sse4.1,ssse3"), always_inline)) inline

// 64 rounds of S interleaved streams; w_plus_k(stream, i) gives words 4i..4i+3 with their round constants.
template <int S, class Words>
GH_SHANI void rounds_shani(__m128i (&abef)[S], __m128i (&cdgh)[S], Words&& w_plus_k) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    __m128i wk[S];
    for (int l = 0; l < S; ++l) wk[l] = w_plus_k(l, i);
    for (int l = 0; l < S; ++l) cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], wk[l]);
    for (int l = 0; l < S; ++l) abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(wk[l], 0x0E));
  }
}

struct ScheduleWords {
  __m128i (&m)[2][4];
  GH_SHANI __m128i operator()(int l, int i) const {
    __m128i(&w)[4] = m[l];
    if (i >= 4)
      w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                                    _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4)), w[(i + 3) & 3]);
    return _mm_add_epi32(w[i & 3], _mm_loadu_si128(reinterpret_cast<const __m128i*>(k + 4 * i)));
  }
};
struct PaddingWords {
  GH_SHANI __m128i operator()(int, int i) const {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(padding.wk + 4 * i));
  }
};

// Two chains interleaved.
__attribute__((target("sha,sse4.1,ssse3"))) void extend_shani(std::uint32_t (&a)[8], std::uint32_t (&b)[8],
                                                                const unsigned char* da, const unsigned char* db, std::size_t count) {
  const __m128i swap = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
  __m128i low[2], high[2];  // PCR words 0-3 and 4-7
  std::uint32_t* const states[2] = {a, b};
  const unsigned char* const digests[2] = {da, db};
  for (int l = 0; l < 2; ++l) {
    low[l] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(states[l]));
    high[l] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(states[l] + 4));
  }
  const __m128i abef0 = _mm_set_epi32(int(initial[0]), int(initial[1]), int(initial[4]), int(initial[5]));
  const __m128i cdgh0 = _mm_set_epi32(int(initial[2]), int(initial[3]), int(initial[6]), int(initial[7]));
  for (std::size_t n = 0; n < count; ++n) {
    __m128i m[2][4], abef[2], cdgh[2], abef1[2], cdgh1[2];
    for (int l = 0; l < 2; ++l) {
      const auto* const d = reinterpret_cast<const __m128i*>(digests[l] + n * 32);
      m[l][0] = low[l];
      m[l][1] = high[l];
      m[l][2] = _mm_shuffle_epi8(_mm_loadu_si128(d), swap);
      m[l][3] = _mm_shuffle_epi8(_mm_loadu_si128(d + 1), swap);
      abef[l] = abef0;
      cdgh[l] = cdgh0;
    }
    rounds_shani<2>(abef, cdgh, ScheduleWords{m});
    for (int l = 0; l < 2; ++l) {
      abef1[l] = abef[l] = _mm_add_epi32(abef[l], abef0);
      cdgh1[l] = cdgh[l] = _mm_add_epi32(cdgh[l], cdgh0);
    }
    rounds_shani<2>(abef, cdgh, PaddingWords{});
    for (int l = 0; l < 2; ++l) {
      abef[l] = _mm_add_epi32(abef[l], abef1[l]);  // words F E B A from the lowest
      cdgh[l] = _mm_add_epi32(cdgh[l], cdgh1[l]);  // H G D C
      low[l] = _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh[l], abef[l]), 0x1B);   // D C B A -> A B C D
      high[l] = _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh[l], abef[l]), 0x1B);  // H G F E -> E F G H
    }
  }
  for (int l = 0; l < 2; ++l) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(states[l]), low[l]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(states[l] + 4), high[l]);
  }
}

bool has_sha_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
}

}  // namespace

void extend_chain_plain(std::uint32_t (&state)[8], const unsigned char* digests, std::size_t count) {
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  unsigned char pcr[32];
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t big = __builtin_bswap32(state[i]);
    std::memcpy(pcr + i * 4, &big, 4);
  }
  for (std::size_t n = 0; n < count; ++n) {
    EVP_DigestInit_ex2(context, sha256, nullptr);
    EVP_DigestUpdate(context, pcr, 32);
    EVP_DigestUpdate(context, digests + n * 32, 32);
    EVP_DigestFinal_ex(context, pcr, nullptr);
  }
  EVP_MD_CTX_free(context);
  for (int i = 0; i < 8; ++i) {
    std::uint32_t big;
    std::memcpy(&big, pcr + i * 4, 4);
    state[i] = __builtin_bswap32(big);
  }
}

std::string_view extend_chains(std::uint32_t (&state)[lanes][8], const unsigned char* digests, std::size_t count) {
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    extend_avx512(state, digests, count);
    return "AVX-512, 16 chains in lanes";
  }
  if (has_sha_instructions()) {
    for (std::size_t l = 0; l < lanes; l += 2)
      extend_shani(state[l], state[l + 1], digests + l * count * 32, digests + (l + 1) * count * 32, count);
    return "SHA instructions, 2 chains interleaved";
  }
  for (std::size_t l = 0; l < lanes; ++l) extend_chain_plain(state[l], digests + l * count * 32, count);
  return "OpenSSL, one chain at a time";
}

}  // namespace gatehouse::bench
