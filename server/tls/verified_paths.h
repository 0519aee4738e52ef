// Clients' certificates that were found good, so that who comes again is recognised by them, instead of by another
// verification of the same signatures.
//
//   paths.use_for(context);   // after its certificates, revocation lists and rules are set
//
// A verdict depends on what the client sent (each certificate, bit by bit), on the context, and on the time. So what is kept
// is for that very chain, in this context alone, and for the time in which all certificates of the path and all revocation
// lists are in force: outside of it, and for any other chain, OpenSSL verifies as if nothing were kept. Only success is
// kept. That the client has the certificate's private key is proved in each handshake, as before.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/hash.h"

namespace gatehouse::server {

// Bounded: when there are too many, all go. Safe for concurrent use.
class VerifiedPaths {
 public:
  // `most_issuers`: different ways from an issuer to an authority; by more of them nothing is kept.
  // `now`: seconds since 1970.
  explicit VerifiedPaths(std::size_t most = 65'536, std::size_t most_issuers = 64, std::int64_t (*now)() = &clock)
      : most_(most), most_issuers_(most_issuers), now_(now) {}
  // Lives as long as the context.
  void use_for(SSL_CTX* context);
  // How often a chain was recognised.
  std::uint64_t recognised() const;

 private:
  struct Issuers;
  struct Seconds {
    std::int64_t from, until;  // since 1970; `until` isn't part of it
  };
  struct Kept {
    Seconds in_force;
    std::shared_ptr<const Issuers> issuers;
  };
  struct Hash {
    std::size_t operator()(const Digest& d) const;
  };

  static std::int64_t clock();
  int verify(X509_STORE_CTX* c);
  std::shared_ptr<const Issuers> find(const Digest& chain, std::int64_t now);
  void keep(const Digest& chain, X509_STORE_CTX* c);

  const std::size_t most_, most_issuers_;
  std::int64_t (*const now_)();
  mutable std::mutex mutex_;
  std::unordered_map<Digest, Kept, Hash> kept_;                               // guarded by mutex_; by what was sent
  std::unordered_map<Digest, std::shared_ptr<const Issuers>, Hash> issuers_;  // guarded by mutex_
  std::uint64_t recognised_ = 0;                                              // guarded by mutex_
};

}  // namespace gatehouse::server
