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

Md5 hmac_md5(Bytes key, std::initializer_list<Bytes> pieces) {
  std::array<std::byte, block> inner{}, outer{};
  Md5 short_key{};
  if (key.size() > block) {
    short_key = md5({key});
    key = short_key;
  }
  for (std::size_t i = 0; i < block; ++i) {
    const std::byte k = i < key.size() ? key[i] : std::byte{0};
    inner[i] = k ^ std::byte{0x36};
    outer[i] = k ^ std::byte{0x5C};
  }
  MD5_CTX context;
  GH_ASSERT(MD5_Init(&context) == 1);
  add(context, {inner});
  add(context, pieces);
  const Md5 first = finish(context);
  const Md5 out = md5({outer, first});
  wipe(inner);
  wipe(outer);
  wipe(short_key);
  return out;
}

}  // namespace gatehouse
