#include "base/md5.h"

// By its own functions, which OpenSSL 3.0 counts as deprecated: EVP has no MD5 where only FIPS algorithms are loaded, and
// allocates a context for each of the few blocks that a packet has.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/md5.h>

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

}  // namespace gatehouse
