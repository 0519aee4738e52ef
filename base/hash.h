// Hash algorithms of TPM banks and IMA digests, and the digests themselves. OpenSSL stays behind this header.
// Algorithms are fetched once a process; a Hasher keeps one context: one for each worker thread, never shared.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

// Values are the TPM algorithm identifiers (TCG Algorithm Registry).
enum class HashAlgorithm : std::uint16_t {
  sha1 = 0x0004,
  sha256 = 0x000B,
  sha384 = 0x000C,
  sha512 = 0x000D,
  sm3_256 = 0x0012,
  sha3_256 = 0x0027,
  sha3_384 = 0x0028,
  sha3_512 = 0x0029,
};

inline constexpr std::size_t max_digest_size = 64;
// The four banks that every tool of Gatehouse replays.
inline constexpr HashAlgorithm common_banks[] = {HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384,
                                                 HashAlgorithm::sha512};

std::size_t digest_size(HashAlgorithm algorithm);
// "sha256", "sm3_256", ...: the bank names of the contract.
std::string_view name(HashAlgorithm algorithm);
std::optional<HashAlgorithm> hash_algorithm(std::string_view name);
std::optional<HashAlgorithm> hash_algorithm(std::uint16_t tpm_id);

// Up to 64 bytes with their length; trivially copyable.
struct Digest {
  std::array<std::byte, max_digest_size> bytes{};
  std::uint8_t size = 0;

  Digest() = default;
  // `from` is at most 64 bytes.
  explicit Digest(Bytes from) : size(std::uint8_t(from.size())) {
    GH_ASSERT(from.size() <= max_digest_size);
    if (!from.empty()) std::memcpy(bytes.data(), from.data(), from.size());
  }
  static Digest filled(std::size_t size, std::byte value) {
    Digest d;
    d.size = std::uint8_t(size);
    for (std::size_t i = 0; i < size; ++i) d.bytes[i] = value;
    return d;
  }
  Bytes view() const { return {bytes.data(), size}; }
  std::string hex() const;
  friend bool operator==(const Digest& a, const Digest& b) { return equal(a.view(), b.view()); }
  friend std::strong_ordering operator<=>(const Digest& a, const Digest& b);
};

class Hasher {
 public:
  explicit Hasher(HashAlgorithm algorithm);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  HashAlgorithm algorithm() const { return algorithm_; }
  // start() may be left out before the first update and after finish().
  void start();
  void update(Bytes bytes);
  Digest finish();
  // One message in one or more pieces.
  Digest operator()(Bytes message);
  Digest operator()(std::span<const Bytes> pieces);
  // PCR_new = H(PCR_old || digest) (TPM 2.0 Part 1, 17.4).
  void extend(Digest& pcr, Bytes digest);

 private:
  struct State;
  HashAlgorithm algorithm_;
  std::unique_ptr<State> state_;
};

// For places that hash seldom; hot paths keep a Hasher.
Digest digest_of(HashAlgorithm algorithm, Bytes message);
// HMAC with the given hash.
Digest hmac(HashAlgorithm algorithm, Bytes key, Bytes message);

// For secrets: takes the same time whatever the bytes are. Different lengths are unequal.
bool equal_constant_time(Bytes a, Bytes b);
// From the operating system's generator through OpenSSL; ends the process if there is none.
void fill_random(std::span<std::byte> out);
ByteVector random_bytes(std::size_t n);
void wipe(std::span<std::byte> secret);

}  // namespace gatehouse
