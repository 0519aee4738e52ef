#include "base/digest_memo.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

namespace gatehouse {
namespace {

// Below this, recognising costs as much as hashing.
constexpr std::size_t smallest = 512;

struct Context {
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_CIPHER_CTX_free(context); }
};

const EVP_CIPHER* cipher() {
  static EVP_CIPHER* const fetched = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return fetched;
}

}  // namespace

DigestMemo::DigestMemo(std::size_t most) : most_(most) { fill_random(key_); }

std::size_t DigestMemo::Hash::operator()(const Fingerprint& f) const {
  std::size_t out = 0;
  std::memcpy(&out, f.data(), sizeof out);
  return out;
}

// The tag of the content as associated data. The nonce is the content's size: a tag is never told to anybody, so that one
// key may have it twice.
DigestMemo::Fingerprint DigestMemo::fingerprint(Bytes content) const {
  thread_local const Context of_thread;
  EVP_CIPHER_CTX* const c = of_thread.context;
  std::array<unsigned char, 12> nonce{};
  const std::uint64_t size = content.size();
  std::memcpy(nonce.data(), &size, sizeof size);
  Fingerprint out{};
  int n = 0;
  const auto* at = reinterpret_cast<const unsigned char*>(content.data());
  bool good = c != nullptr && cipher() != nullptr &&
              EVP_EncryptInit_ex2(c, cipher(), reinterpret_cast<const unsigned char*>(key_.data()), nonce.data(), nullptr) == 1;
  for (std::size_t left = content.size(); good && left != 0;) {
    const int now = int(std::min<std::size_t>(left, std::size_t(1) << 30));
    good = EVP_EncryptUpdate(c, nullptr, &n, at, now) == 1;
    at += now;
    left -= std::size_t(now);
  }
  unsigned char rest[16];
  good = good && EVP_EncryptFinal_ex(c, rest, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, int(out.size()), out.data()) == 1;
  // OpenSSL can't: only out of memory. A fingerprint that nobody else has recognises nothing.
  if (!good) fill_random(out);
  return out;
}

Digest DigestMemo::sha256(Bytes content) {
  if (content.size() < smallest) return digest_of(HashAlgorithm::sha256, content);
  const Fingerprint print = fingerprint(content);
  {
    const std::lock_guard lock(mutex_);
    for (const Known* known : {&recent_, &earlier_}) {
      const auto at = known->find(print);
      if (at == known->end()) continue;
      const Digest found = at->second;
      ++recognised_;
      if (known == &earlier_) recent_.emplace(print, found);
      return found;
    }
  }
  const Digest digest = digest_of(HashAlgorithm::sha256, content);
  const std::lock_guard lock(mutex_);
  if (recent_.size() >= most_ / 2) {
    earlier_ = std::move(recent_);
    recent_ = {};
  }
  recent_.emplace(print, digest);
  return digest;
}

std::uint64_t DigestMemo::recognised() const {
  const std::lock_guard lock(mutex_);
  return recognised_;
}

}  // namespace gatehouse
