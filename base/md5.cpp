#include "base/md5.h"

// By its own functions, which OpenSSL 3.0 counts as deprecated: EVP has no MD5 where only FIPS algorithms are loaded, and
// allocates a context for each of the few blocks that a packet has.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/md5.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {
namespace {

constexpr std::size_t block = 64;

void add(MD5_CTX& context, std::initializer_list<Bytes> pieces) {
  for (const Bytes piece : pieces) GH_ASSERT(MD5_Update(&context, piece.data(), piece.size()) == 1);
}

Md5 finish(MD5_CTX& context) {
  Md5 out;
  GH_ASSERT(MD5_Final(reinterpret_cast<unsigned char*>(out.data()), &context) == 1);
  return out;
}

}  // namespace

Md5 md5(std::initializer_list<Bytes> pieces) {
  MD5_CTX context;
  GH_ASSERT(MD5_Init(&context) == 1);
  add(context, pieces);
  return finish(context);
}

Md5 hmac_md5(Bytes key, std::initializer_list<Bytes> pieces) { return HmacMd5(key)(pieces); }

HmacMd5::HmacMd5(Bytes key) {
  Md5 short_key{};
  if (key.size() > block) {
    short_key = md5({key});
    key = short_key;
  }
  const auto after = [key](std::byte pad) {
    std::array<std::byte, block> padded{};
    for (std::size_t i = 0; i < block; ++i) padded[i] = pad ^ (i < key.size() ? key[i] : std::byte{0});
    MD5_CTX context;
    GH_ASSERT(MD5_Init(&context) == 1);
    add(context, {padded});
    wipe(padded);
    const State out{context.A, context.B, context.C, context.D};
    wipe(std::as_writable_bytes(std::span(&context, 1)));
    return out;
  };
  inner_ = after(std::byte{0x36});
  outer_ = after(std::byte{0x5C});
  wipe(short_key);
}

HmacMd5::~HmacMd5() {
  wipe(std::as_writable_bytes(std::span(inner_)));
  wipe(std::as_writable_bytes(std::span(outer_)));
}

Md5 HmacMd5::operator()(std::initializer_list<Bytes> pieces) const {
  const auto begun = [](const State& state) {
    MD5_CTX out;
    GH_ASSERT(MD5_Init(&out) == 1);
    out.A = state[0];
    out.B = state[1];
    out.C = state[2];
    out.D = state[3];
    out.Nl = 8 * block;  // bits so far
    return out;
  };
  MD5_CTX context = begun(inner_);
  add(context, pieces);
  const Md5 first = finish(context);
  context = begun(outer_);
  add(context, {first});
  return finish(context);
}

// Messages side by side: word i of each in a row, one lane each.
struct Md5Lanes {
  static_assert(std::endian::native == std::endian::little, "MD5's words are little-endian");
  template <std::size_t lanes>
  struct Rows {
    alignas(64) std::uint32_t of[16][lanes];
  };
  // One block of each.
  template <std::size_t lanes>
  using Block = void (*)(Rows<lanes>& state, const Rows<lanes>& words);  // of the state the first four rows

  template <std::size_t lanes, Block<lanes> block_of_each>
  static void run(std::span<Md5Job> jobs) {
    while (!jobs.empty()) {
      const std::size_t count = std::min(lanes, jobs.size());
      group<lanes, block_of_each>(jobs.first(count));
      jobs = jobs.subspan(count);
    }
  }
  static void one_by_one(std::span<Md5Job> jobs) {
    static constexpr Md5 zeros{};
    for (Md5Job& job : jobs) {
      const bool hole = job.zeros_at != Md5Job::none;
      const std::size_t at = hole ? job.zeros_at : job.message.size();
      const auto pieces = {job.message.first(at), Bytes(zeros).first(hole ? zeros.size() : 0), job.message.subspan(at + (hole ? zeros.size() : 0))};
      job.digest = job.key != nullptr ? (*job.key)(pieces) : md5(pieces);
    }
  }

  template <class Vector, std::size_t lanes>
  [[gnu::always_inline]] static inline void rounds(Rows<lanes>& state, const Rows<lanes>& words) {
    static constexpr std::uint32_t constants[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1,
        0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453,
        0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942,
        0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05,
        0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d,
        0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
    static constexpr int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    Vector a, b, c, d, w[16];
    std::memcpy(&a, state.of[0], sizeof a);
    std::memcpy(&b, state.of[1], sizeof b);
    std::memcpy(&c, state.of[2], sizeof c);
    std::memcpy(&d, state.of[3], sizeof d);
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(&w[i], words.of[i], sizeof w[i]);
    const Vector a0 = a, b0 = b, c0 = c, d0 = d;
#pragma GCC unroll 64
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned round = i / 16;
      const Vector f = round == 0 ? d ^ (b & (c ^ d)) : round == 1 ? c ^ (d & (b ^ c)) : round == 2 ? b ^ c ^ d : c ^ (b | ~d);
      const unsigned word = round == 0 ? i : round == 1 ? (5 * i + 1) % 16 : round == 2 ? (3 * i + 5) % 16 : 7 * i % 16;
      const int shift = shifts[round][i % 4];
      const Vector sum = a + f + constants[i] + w[word];
      a = d;
      d = c;
      c = b;
      b += sum << shift | sum >> (32 - shift);
    }
    a += a0;
    b += b0;
    c += c0;
    d += d0;
    std::memcpy(state.of[0], &a, sizeof a);
    std::memcpy(state.of[1], &b, sizeof b);
    std::memcpy(state.of[2], &c, sizeof c);
    std::memcpy(state.of[3], &d, sizeof d);
  }

 private:
  // The end of a message: what doesn't fill a block, the mark, and the length in bits.
  struct Tail {
    std::array<std::byte, 2 * block> bytes{};
    std::size_t blocks = 0;
    void end(Bytes rest, std::size_t size) {  // of all, a key's block included
      if (!rest.empty()) std::memcpy(bytes.data(), rest.data(), rest.size());
      bytes[rest.size()] = std::byte{0x80};
      blocks = rest.size() + 1 + sizeof(std::uint64_t) <= block ? 1 : 2;
      const std::uint64_t bits = 8 * std::uint64_t(size);
      std::memcpy(bytes.data() + blocks * block - sizeof bits, &bits, sizeof bits);
    }
  };

  template <std::size_t lanes, Block<lanes> block_of_each>
  static void group(std::span<Md5Job> jobs) {
    constexpr HmacMd5::State fresh{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    Rows<lanes> state{}, words{};
    std::array<Tail, lanes> tails;
    std::array<std::size_t, lanes> whole{};  // blocks
    std::size_t most = 0;
    const auto begin = [&](std::size_t lane, const HmacMd5::State& from) {
      for (std::size_t i = 0; i < from.size(); ++i) state.of[i][lane] = from[i];
    };
    // `at`: in the message.
    const auto fill_zeros = [&](const Md5Job& job, std::size_t at, std::span<std::byte> bytes) {
      if (job.zeros_at == Md5Job::none) return;
      const std::size_t first = std::max(job.zeros_at, at), last = std::min(job.zeros_at + sizeof(Md5), at + bytes.size());
      if (first < last) std::memset(bytes.data() + (first - at), 0, last - first);
    };
    const auto load = [&](std::size_t lane, const std::byte* from) {
      std::uint32_t all[16];
      std::memcpy(all, from, sizeof all);
      for (std::size_t i = 0; i < 16; ++i) words.of[i][lane] = all[i];
    };
    const auto digest = [&](std::size_t lane) {
      std::uint32_t all[4];
      for (std::size_t i = 0; i < 4; ++i) all[i] = state.of[i][lane];
      std::memcpy(jobs[lane].digest.data(), all, sizeof all);
    };
    for (std::size_t l = 0; l < jobs.size(); ++l) {
      const Bytes message = jobs[l].message;
      whole[l] = message.size() / block;
      tails[l].end(message.subspan(whole[l] * block), message.size() + (jobs[l].key != nullptr ? block : 0));
      fill_zeros(jobs[l], whole[l] * block, std::span(tails[l].bytes).first(message.size() % block));
      begin(l, jobs[l].key != nullptr ? jobs[l].key->inner_ : fresh);
      most = std::max(most, whole[l] + tails[l].blocks);
    }
    for (std::size_t n = 0; n < most; ++n) {
      for (std::size_t l = 0; l < jobs.size(); ++l) {
        if (n < whole[l]) {
          std::array<std::byte, block> bytes;
          std::memcpy(bytes.data(), jobs[l].message.data() + n * block, block);
          fill_zeros(jobs[l], n * block, bytes);
          load(l, bytes.data());
        } else if (n < whole[l] + tails[l].blocks) load(l, tails[l].bytes.data() + (n - whole[l]) * block);
      }
      block_of_each(state, words);
      for (std::size_t l = 0; l < jobs.size(); ++l)
        if (n + 1 == whole[l] + tails[l].blocks) digest(l);  // what its lane does from here on is nobody's
    }
    bool keyed = false;
    for (std::size_t l = 0; l < jobs.size(); ++l) {
      if (jobs[l].key == nullptr) continue;
      keyed = true;
      Tail outer;
      outer.end(jobs[l].digest, block + sizeof(Md5));
      load(l, outer.bytes.data());
      begin(l, jobs[l].key->outer_);
    }
    if (!keyed) return;
    block_of_each(state, words);
    for (std::size_t l = 0; l < jobs.size(); ++l)
      if (jobs[l].key != nullptr) digest(l);
  }
};

namespace {

#ifdef __x86_64__
using Eight = std::uint32_t __attribute__((vector_size(32)));
using Sixteen = std::uint32_t __attribute__((vector_size(64)));
__attribute__((target("avx2"))) void block_of_eight(Md5Lanes::Rows<8>& state, const Md5Lanes::Rows<8>& words) {
  Md5Lanes::rounds<Eight>(state, words);
}
__attribute__((target("avx512f"))) void block_of_sixteen(Md5Lanes::Rows<16>& state, const Md5Lanes::Rows<16>& words) {
  Md5Lanes::rounds<Sixteen>(state, words);
}
#endif

struct Kernels {
  std::array<Md5Kernel, 3> all{{{"one message at a time", 1, Md5Lanes::one_by_one}}};
  std::size_t count = 1;
  Kernels() {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) all[count++] = {"AVX2, 8 messages in lanes", 8, Md5Lanes::run<8, block_of_eight>};
    if (__builtin_cpu_supports("avx512f")) all[count++] = {"AVX-512, 16 messages in lanes", 16, Md5Lanes::run<16, block_of_sixteen>};
#endif
  }
};
const Kernels& kernels() {
  static const Kernels one;
  return one;
}

}  // namespace

std::span<const Md5Kernel> md5_kernels() { return {kernels().all.data(), kernels().count}; }

void md5_each(std::span<Md5Job> jobs) {
  const Kernels& have = kernels();
  // A block of all lanes takes as long as one or two of one message.
  const bool few = jobs.size() < 3;
  have.all[few ? 0 : have.count - 1].run(jobs);
}

}  // namespace gatehouse
