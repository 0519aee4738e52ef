#include "server/tls/verified_paths.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/der.h"
#include "base/owned.h"
#include "base/writer.h"

namespace gatehouse::server {
namespace {

void free_path(STACK_OF(X509) * path) { sk_X509_pop_free(path, X509_free); }
using Path = Owned<STACK_OF(X509), free_path>;

bool push(STACK_OF(X509) * path, X509* one) {
  if (X509_up_ref(one) != 1) return false;
  if (sk_X509_push(path, one) > 0) return true;
  X509_free(one);
  return false;
}

// Of certificates from the n-th on, each with its length in front.
Digest digest_of_certificates(const STACK_OF(X509) * certificates, int from) {
  Writer w;
  for (int i = from; i < sk_X509_num(certificates); ++i) {
    const ByteVector der = encoded<X509>(sk_X509_value(certificates, i), &i2d_X509);
    w.put(std::uint64_t(der.size()));
    w.put_bytes(der);
  }
  return digest_of(HashAlgorithm::sha256, w.view());
}

}  // namespace

// From the client's issuer up to an authority.
struct VerifiedPaths::Issuers {
  Path path;
};

std::size_t VerifiedPaths::Hash::operator()(const Digest& d) const {
  std::size_t out;
  std::memcpy(&out, d.bytes.data(), sizeof out);
  return out;
}

std::int64_t VerifiedPaths::clock() { return std::int64_t(std::time(nullptr)); }

void VerifiedPaths::use_for(SSL_CTX* context) {
  SSL_CTX_set_cert_verify_callback(context, [](X509_STORE_CTX* c, void* self) { return static_cast<VerifiedPaths*>(self)->verify(c); }, this);
}

std::uint64_t VerifiedPaths::recognised() const {
  const std::lock_guard lock(mutex_);
  return recognised_;
}

int VerifiedPaths::verify(X509_STORE_CTX* c) {
  // All that the client sent, its own certificate first.
  const STACK_OF(X509)* const sent = X509_STORE_CTX_get0_untrusted(c);
  if (sent == nullptr || sk_X509_num(sent) == 0 || sk_X509_value(sent, 0) != X509_STORE_CTX_get0_cert(c)) return X509_verify_cert(c);
  const Digest chain = digest_of_certificates(sent, 0);
  if (const auto issuers = find(chain, now_())) {
    Path path(sk_X509_new_null());
    bool whole = path && push(path.get(), X509_STORE_CTX_get0_cert(c));
    for (int i = 0; whole && i < sk_X509_num(issuers->path.get()); ++i) whole = push(path.get(), sk_X509_value(issuers->path.get(), i));
    if (whole) {
      X509_STORE_CTX_set0_verified_chain(c, path.release());
      X509_STORE_CTX_set_error(c, X509_V_OK);
      return 1;
    }
  }
  const int good = X509_verify_cert(c);
  if (good == 1 && X509_STORE_CTX_get_error(c) == X509_V_OK) keep(chain, c);
  return good;
}

std::shared_ptr<const VerifiedPaths::Issuers> VerifiedPaths::find(const Digest& chain, std::int64_t now) {
  const std::lock_guard lock(mutex_);
  const auto at = kept_.find(chain);
  if (at == kept_.end() || now < at->second.in_force.from || now >= at->second.in_force.until) return nullptr;
  ++recognised_;
  return at->second.issuers;
}

void VerifiedPaths::keep(const Digest& chain, X509_STORE_CTX* c) {
  const STACK_OF(X509)* const path = X509_STORE_CTX_get0_chain(c);
  if (path == nullptr || sk_X509_num(path) == 0) return;
  Seconds in_force{INT64_MIN, INT64_MAX};
  bool known = true;
  const auto bounded = [&](const ASN1_TIME* from, const ASN1_TIME* until) {
    const auto first = seconds_of(from), last = seconds_of(until);
    known = known && first && last;
    if (known) in_force = {std::max(in_force.from, *first), std::min(in_force.until, *last)};
  };
  for (int i = 0; i < sk_X509_num(path); ++i) bounded(X509_get0_notBefore(sk_X509_value(path, i)), X509_get0_notAfter(sk_X509_value(path, i)));
  X509_STORE* const store = X509_STORE_CTX_get0_store(c);
  if (X509_STORE_lock(store) != 1) return;
  const STACK_OF(X509_OBJECT)* const objects = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i)
    if (const X509_CRL* const list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i)); list != nullptr)
      bounded(X509_CRL_get0_lastUpdate(list), X509_CRL_get0_nextUpdate(list));
  X509_STORE_unlock(store);
  if (!known) return;  // a list without its end, for one
  const Digest above = digest_of_certificates(path, 1);
  const std::lock_guard lock(mutex_);
  auto issuers = issuers_.find(above);
  if (issuers == issuers_.end()) {
    if (issuers_.size() >= most_issuers_) return;
    Path own(sk_X509_new_null());
    for (int i = 1; own && i < sk_X509_num(path); ++i)
      if (!push(own.get(), sk_X509_value(path, i))) return;
    if (!own) return;
    issuers = issuers_.emplace(above, std::make_shared<const Issuers>(Issuers{std::move(own)})).first;
  }
  if (kept_.size() >= most_) kept_.clear();
  kept_.insert_or_assign(chain, Kept{in_force, issuers->second});
}

}  // namespace gatehouse::server
