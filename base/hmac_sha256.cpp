#include "base/hmac_sha256.h"

// By OpenSSL's own functions, which 3.0 counts as deprecated: see hash.cpp.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {
namespace {

constexpr std::size_t block = 64;

void add(SHA256_CTX& context, std::initializer_list<Bytes> pieces) {
  for (const Bytes piece : pieces) GH_ASSERT(SHA256_Update(&context, piece.data(), piece.size()) == 1);
}

std::array<std::byte, 32> finish(SHA256_CTX& context) {
  std::array<std::byte, 32> out;
  GH_ASSERT(SHA256_Final(reinterpret_cast<unsigned char*>(out.data()), &context) == 1);
  return out;
}

}  // namespace

HmacSha256::HmacSha256(Bytes key) {
  std::array<std::byte, block> whole{};
  if (key.size() > block) {
    const Digest digest = digest_of(HashAlgorithm::sha256, key);
    std::copy(digest.view().begin(), digest.view().end(), whole.begin());
  } else {
    std::copy(key.begin(), key.end(), whole.begin());
  }
  const auto after = [&whole](std::byte pad) {
    std::array<std::byte, block> padded;
    std::transform(whole.begin(), whole.end(), padded.begin(), [pad](std::byte b) { return b ^ pad; });
    SHA256_CTX context;
    GH_ASSERT(SHA256_Init(&context) == 1);
    add(context, {padded});
    wipe(padded);
    State out;
    std::copy(std::begin(context.h), std::end(context.h), out.begin());
    wipe(std::as_writable_bytes(std::span(&context, 1)));
    return out;
  };
  inner_ = after(std::byte{0x36});
  outer_ = after(std::byte{0x5C});
  wipe(whole);
}

HmacSha256::~HmacSha256() {
  wipe(std::as_writable_bytes(std::span(inner_)));
  wipe(std::as_writable_bytes(std::span(outer_)));
}

std::array<std::byte, 32> HmacSha256::operator()(std::initializer_list<Bytes> pieces) const {
  const auto begun = [](const State& state) {
    SHA256_CTX out;
    GH_ASSERT(SHA256_Init(&out) == 1);
    std::copy(state.begin(), state.end(), std::begin(out.h));
    out.Nl = 8 * block;  // bits so far
    return out;
  };
  SHA256_CTX context = begun(inner_);
  add(context, pieces);
  const auto first = finish(context);
  context = begun(outer_);
  add(context, {first});
  return finish(context);
}

}  // namespace gatehouse
