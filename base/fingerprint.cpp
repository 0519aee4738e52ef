#include "base/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/hash.h"

namespace gatehouse {
namespace {

struct Gmac {
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  Gmac() = default;
  Gmac(const Gmac&) = delete;
  Gmac& operator=(const Gmac&) = delete;
  ~Gmac() { EVP_CIPHER_CTX_free(context); }
};

const EVP_CIPHER* cipher() {
  static EVP_CIPHER* const fetched = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return fetched;
}

bool update(EVP_CIPHER_CTX* context, Bytes content) {
  const auto* at = reinterpret_cast<const unsigned char*>(content.data());
  for (std::size_t left = content.size(); left != 0;) {
    const int now = int(std::min<std::size_t>(left, std::size_t(1) << 30));
    int n = 0;
    if (EVP_EncryptUpdate(context, nullptr, &n, at, now) != 1) return false;
    at += now;
    left -= std::size_t(now);
  }
  return true;
}

}  // namespace

std::size_t FingerprintHash::operator()(const Fingerprint& f) const {
  std::size_t out = 0;
  std::memcpy(&out, f.data(), sizeof out);
  return out;
}

Fingerprinter::Fingerprinter() { fill_random(key_); }

// The tag of the content as associated data. The nonce is the content's size: a tag is never told to anybody, so that one
// key may have it twice.
Fingerprint Fingerprinter::operator()(Bytes first, Bytes content) const {
  thread_local const Gmac of_thread;
  EVP_CIPHER_CTX* const c = of_thread.context;
  std::array<unsigned char, 12> nonce{};
  const std::uint64_t size = content.size();
  std::memcpy(nonce.data(), &size, sizeof size);
  Fingerprint out{};
  unsigned char rest[16];
  int n = 0;
  const bool good = c != nullptr && cipher() != nullptr &&
                    EVP_EncryptInit_ex2(c, cipher(), reinterpret_cast<const unsigned char*>(key_.data()), nonce.data(), nullptr) == 1 &&
                    update(c, first) && update(c, content) && EVP_EncryptFinal_ex(c, rest, &n) == 1 &&
                    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, int(out.size()), out.data()) == 1;
  // OpenSSL can't: only out of memory. A fingerprint that nobody else has recognises nothing.
  if (!good) fill_random(out);
  return out;
}

}  // namespace gatehouse
