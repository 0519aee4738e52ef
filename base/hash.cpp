#include "base/hash.h"

// SHA-256 below, which OpenSSL 3.0 counts as deprecated.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/hex.h"
#include "base/sha256_chains.h"

namespace gatehouse {
namespace {

struct Info {
  HashAlgorithm id;
  std::string_view name;
  const char* openssl;
  std::size_t size;
};
constexpr Info table[] = {
    {HashAlgorithm::sha1, "sha1", "SHA1", 20},           {HashAlgorithm::sha256, "sha256", "SHA2-256", 32},
    {HashAlgorithm::sha384, "sha384", "SHA2-384", 48},   {HashAlgorithm::sha512, "sha512", "SHA2-512", 64},
    {HashAlgorithm::sm3_256, "sm3_256", "SM3", 32},      {HashAlgorithm::sha3_256, "sha3_256", "SHA3-256", 32},
    {HashAlgorithm::sha3_384, "sha3_384", "SHA3-384", 48}, {HashAlgorithm::sha3_512, "sha3_512", "SHA3-512", 64},
};
constexpr std::size_t count = std::size(table);

std::size_t index_of(HashAlgorithm algorithm) {
  for (std::size_t i = 0; i < count; ++i)
    if (table[i].id == algorithm) return i;
  GH_ASSERT(false && "unknown hash algorithm");
  return 0;
}

// Fetched once: an implicit fetch costs several times the hash of a short message.
EVP_MD* fetched(HashAlgorithm algorithm) {
  static const auto all = [] {
    std::array<EVP_MD*, count> out{};
    for (std::size_t i = 0; i < count; ++i) out[i] = EVP_MD_fetch(nullptr, table[i].openssl, nullptr);
    return out;
  }();
  EVP_MD* const md = all[index_of(algorithm)];
  GH_ASSERT(md != nullptr);
  return md;
}

}  // namespace

std::size_t digest_size(HashAlgorithm algorithm) { return table[index_of(algorithm)].size; }
std::string_view name(HashAlgorithm algorithm) { return table[index_of(algorithm)].name; }

std::optional<HashAlgorithm> hash_algorithm(std::string_view name) {
  for (const Info& info : table)
    if (info.name == name) return info.id;
  return std::nullopt;
}

std::optional<HashAlgorithm> hash_algorithm(std::uint16_t tpm_id) {
  for (const Info& info : table)
    if (std::to_underlying(info.id) == tpm_id) return info.id;
  return std::nullopt;
}

std::string Digest::hex() const { return to_hex(view()); }

std::strong_ordering operator<=>(const Digest& a, const Digest& b) {
  return std::lexicographical_compare_three_way(a.bytes.begin(), a.bytes.begin() + a.size, b.bytes.begin(),
                                                b.bytes.begin() + b.size);
}

// SHA-256 by its own functions: EVP allocates and wipes a context for each message, a third of what a template's or a
// path's digest costs, and there are millions of those. Any other algorithm by EVP.
struct Hasher::State {
  EVP_MD_CTX* context = nullptr;
  EVP_MD* md = nullptr;
  SHA256_CTX sha256{};
  bool started = false;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Hasher::Hasher(HashAlgorithm algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  if (algorithm == HashAlgorithm::sha256) return;
  state_->md = fetched(algorithm);
  state_->context = EVP_MD_CTX_new();
  GH_ASSERT(state_->context != nullptr);
}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::start() {
  GH_ASSERT(state_->context == nullptr ? SHA256_Init(&state_->sha256) == 1
                                       : EVP_DigestInit_ex2(state_->context, state_->md, nullptr) == 1);
  state_->started = true;
}

void Hasher::update(Bytes bytes) {
  if (!state_->started) start();
  GH_ASSERT(state_->context == nullptr ? SHA256_Update(&state_->sha256, bytes.data(), bytes.size()) == 1
                                       : EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Digest Hasher::finish() {
  if (!state_->started) start();
  Digest out;
  auto* const to = reinterpret_cast<unsigned char*>(out.bytes.data());
  unsigned size = SHA256_DIGEST_LENGTH;
  GH_ASSERT(state_->context == nullptr ? SHA256_Final(to, &state_->sha256) == 1
                                       : EVP_DigestFinal_ex(state_->context, to, &size) == 1);
  out.size = std::uint8_t(size);
  state_->started = false;
  return out;
}

Digest Hasher::operator()(Bytes message) {
  start();
  update(message);
  return finish();
}

Digest Hasher::operator()(std::span<const Bytes> pieces) {
  start();
  for (const Bytes piece : pieces) update(piece);
  return finish();
}

void Hasher::extend(Digest& pcr, Bytes digest) {
  if (algorithm_ == HashAlgorithm::sha256 && pcr.size == sha256_size && digest.size() == sha256_size)
    return extend_sha256(pcr.bytes.data(), digest.data());
  start();
  update(pcr.view());
  update(digest);
  pcr = finish();
}

Digest digest_of(HashAlgorithm algorithm, Bytes message) { return Hasher(algorithm)(message); }

Digest hmac(HashAlgorithm algorithm, Bytes key, Bytes message) {
  Digest out;
  unsigned size = 0;
  GH_ASSERT(HMAC(fetched(algorithm), key.data(), int(key.size()), as_uchar(message), message.size(),
                 reinterpret_cast<unsigned char*>(out.bytes.data()), &size) != nullptr);
  out.size = std::uint8_t(size);
  return out;
}

bool equal_constant_time(Bytes a, Bytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void fill_random(std::span<std::byte> out) {
  GH_ASSERT(out.size() <= 1U << 30);
  GH_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), int(out.size())) == 1);
}

ByteVector random_bytes(std::size_t n) {
  ByteVector out(n);
  fill_random(out);
  return out;
}

void wipe(std::span<std::byte> secret) { OPENSSL_cleanse(secret.data(), secret.size()); }

}  // namespace gatehouse
