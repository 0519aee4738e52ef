#include "base/ms_chap.h"

// MD4 and DES by their own functions: EVP has them only where the legacy provider is loaded.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/des.h>
#include <openssl/md4.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse {
namespace {

constexpr std::size_t max_characters = 256;
constexpr std::string_view magic1 = "Magic server to client signing constant", magic2 = "Pad to make it do more than one iteration";

NtHash md4(Bytes message) {
  NtHash out;
  MD4_CTX context;
  GH_ASSERT(MD4_Init(&context) == 1 && MD4_Update(&context, message.data(), message.size()) == 1 &&
            MD4_Final(reinterpret_cast<unsigned char*>(out.data()), &context) == 1);
  return out;
}

// Code units, little-endian; nullopt: not UTF-8.
std::optional<ByteVector> utf16(std::string_view text) {
  ByteVector out;
  const auto put = [&](std::uint32_t unit) {
    out.push_back(std::byte(unit));
    out.push_back(std::byte(unit >> 8));
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    const std::size_t more = first < 0x80 ? 0 : first >= 0xF0 && first < 0xF5 ? 3 : first >= 0xE0 && first < 0xF0 ? 2 : first >= 0xC2 && first < 0xE0 ? 1 : 4;
    if (more == 4 || at + more >= text.size()) return std::nullopt;
    std::uint32_t code = more == 0 ? first : first & (0x3FU >> more);
    for (std::size_t i = 1; i <= more; ++i) {
      const auto next = static_cast<unsigned char>(text[at + i]);
      if ((next & 0xC0) != 0x80) return std::nullopt;
      code = code << 6 | (next & 0x3FU);
    }
    if ((code >= 0xD800 && code < 0xE000) || code > 0x10FFFF || (more == 2 && code < 0x800) || (more == 3 && code < 0x10000)) return std::nullopt;
    if (code >= 0x10000) {
      put(0xD800 + ((code - 0x10000) >> 10));
      put(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
      put(code);
    }
    at += more + 1;
  }
  if (out.size() > 2 * max_characters) return std::nullopt;
  return out;
}

// RFC 2759 section 8.6: a key of 56 bits, seven to a byte.
void des(const std::byte* seven, Bytes clear, std::byte* out) {
  DES_cblock key{}, in{}, result{};
  for (std::size_t i = 0; i < 8; ++i) {
    unsigned bits = 0;
    if (i > 0) bits = std::to_integer<unsigned>(seven[i - 1]) << (8 - i);
    if (i < 7) bits |= std::to_integer<unsigned>(seven[i]) >> i;
    key[i] = static_cast<unsigned char>(bits & 0xFEU);
  }
  std::memcpy(in, clear.data(), sizeof in);
  DES_set_odd_parity(&key);
  DES_key_schedule schedule;
  DES_set_key_unchecked(&key, &schedule);
  DES_ecb_encrypt(&in, &result, &schedule, DES_ENCRYPT);
  std::memcpy(out, result, sizeof result);
  OPENSSL_cleanse(&schedule, sizeof schedule);
  OPENSSL_cleanse(key, sizeof key);
}

// Section 8.2: eight bytes.
Digest challenge_hash(Bytes authenticator_challenge, Bytes peer_challenge, std::string_view user) {
  const Bytes pieces[] = {peer_challenge, authenticator_challenge, as_bytes(without_domain(user))};
  Digest out = Hasher(HashAlgorithm::sha1)(pieces);
  out.size = 8;
  return out;
}

}  // namespace

std::string_view without_domain(std::string_view user) {
  const std::size_t at = user.rfind('\\');
  return at == std::string_view::npos ? user : user.substr(at + 1);
}

std::optional<NtHash> nt_hash(std::string_view password) {
  auto units = utf16(password);
  if (!units) return std::nullopt;
  const NtHash out = md4(*units);
  wipe(*units);
  return out;
}

MsChapResponse ms_chap_response(Bytes authenticator_challenge, Bytes peer_challenge, std::string_view user, const NtHash& hash) {
  const Digest challenge = challenge_hash(authenticator_challenge, peer_challenge, user);
  std::array<std::byte, 21> padded{};
  std::copy(hash.begin(), hash.end(), padded.begin());
  MsChapResponse out;
  for (std::size_t i = 0; i < 3; ++i) des(padded.data() + 7 * i, challenge.view(), out.data() + 8 * i);
  wipe(padded);
  return out;
}

std::string ms_chap_proof(const NtHash& hash, const MsChapResponse& response, Bytes authenticator_challenge, Bytes peer_challenge,
                          std::string_view user) {
  const NtHash hash_hash = md4(hash);
  Hasher sha1(HashAlgorithm::sha1);
  const Bytes first[] = {hash_hash, response, as_bytes(magic1)};
  const Digest inner = sha1(first);
  const Digest challenge = challenge_hash(authenticator_challenge, peer_challenge, user);
  const Bytes second[] = {inner.view(), challenge.view(), as_bytes(magic2)};
  std::string hex = to_hex(sha1(second).view());
  std::transform(hex.begin(), hex.end(), hex.begin(), [](unsigned char c) { return char(std::toupper(c)); });
  return "S=" + hex;
}

}  // namespace gatehouse
