#include "server/tls/tls_sessions.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/der.h"
#include "server/tls/tls_context.h"

namespace gatehouse::server {
namespace {

// What hangs on a session: it goes with copies of it, and with it.
struct Carried {
  std::shared_ptr<Resumable> as;
  STACK_OF(X509)* path = nullptr;  // of the client's certificate, as it was verified; null: it has none
  Carried() = default;
  Carried(const Carried& other) : as(other.as), path(other.path != nullptr ? X509_chain_up_ref(other.path) : nullptr) {}
  Carried& operator=(const Carried&) = delete;
  ~Carried() { sk_X509_pop_free(path, X509_free); }
};

void free_carried(void*, void* data, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<Carried*>(data); }
int copy_carried(CRYPTO_EX_DATA*, const CRYPTO_EX_DATA*, void** data, int, long, void*) {
  if (*data != nullptr) *data = new Carried(*static_cast<const Carried*>(*data));
  return 1;
}
int carried_index() {
  static const int index = SSL_SESSION_get_ex_new_index(0, nullptr, nullptr, &copy_carried, &free_carried);
  return index;
}
const Carried* carried(const SSL_SESSION* session) { return session != nullptr ? static_cast<const Carried*>(SSL_SESSION_get_ex_data(session, carried_index())) : nullptr; }

int sessions_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}
TlsSessions* of_context(SSL_CTX* context) { return static_cast<TlsSessions*>(SSL_CTX_get_ex_data(context, sessions_index())); }

std::string id_of(const SSL_SESSION* session) {
  unsigned size = 0;
  const unsigned char* const id = SSL_SESSION_get_id(session, &size);
  return {reinterpret_cast<const char*>(id), size};
}

struct Reference {
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};

}  // namespace

std::unique_ptr<TlsSessions> TlsSessions::of(SSL_CTX* context, std::chrono::seconds lifetime, std::size_t most) {
  std::unique_ptr<TlsSessions> out(new TlsSessions(lifetime, most));
  SSL_CTX_set_ex_data(context, sessions_index(), out.get());
  constexpr unsigned char name[] = "gatehouse EAP-TTLS";
  SSL_CTX_set_session_id_context(context, name, sizeof name - 1);
  // Tickets of TLS 1.3 are names of sessions here, as those of TLS 1.2 are: what isn't known any more can't be resumed.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
  SSL_CTX_set_timeout(context, long(lifetime.count()));
  SSL_CTX_sess_set_new_cb(context, &TlsSessions::on_new);
  SSL_CTX_sess_set_get_cb(context, &TlsSessions::find);
  SSL_CTX_sess_set_remove_cb(context, &TlsSessions::on_removed);
  return out;
}

TlsSessions::~TlsSessions() {
  for (const auto& [_, kept] : sessions_) SSL_SESSION_free(kept.session);
}

void TlsSessions::keep(SSL* ssl, const std::shared_ptr<Resumable>& as) {
  SSL_SESSION* const session = SSL_get_session(ssl);
  if (session == nullptr) return;
  // A session that others share isn't changed; and it stays whose it was.
  const bool reused = SSL_session_reused(ssl) == 1;
  if (reused && resumed(ssl) != as) return;
  if (!reused) {
    if (as->since == Clock::time_point{}) as->since = Clock::now();
    auto made = std::make_unique<Carried>();
    made->as = as;
    if (STACK_OF(X509)* const path = SSL_get0_verified_chain(ssl); path != nullptr && SSL_get0_peer_certificate(ssl) != nullptr) made->path = X509_chain_up_ref(path);
    if (SSL_SESSION_set_ex_data(session, carried_index(), made.get()) != 1) return;
    (void)made.release();
  }
  // The ticket goes out with what is written next, and on_new() has its session.
  if (SSL_version(ssl) >= TLS1_3_VERSION) (void)SSL_new_session_ticket(ssl);
  else if (!reused) add(session);
}

std::shared_ptr<Resumable> TlsSessions::resumed(SSL* ssl) {
  if (SSL_session_reused(ssl) != 1) return nullptr;
  const Carried* const found = carried(SSL_get_session(ssl));
  return found != nullptr ? found->as : nullptr;
}

ByteVector TlsSessions::issuer(SSL* ssl) {
  const Carried* const found = SSL_session_reused(ssl) == 1 ? carried(SSL_get_session(ssl)) : nullptr;
  if (found == nullptr || found->path == nullptr || sk_X509_num(found->path) < 2) return {};
  return encoded<X509>(sk_X509_value(found->path, 1), &i2d_X509);
}

int TlsSessions::on_new(SSL* ssl, SSL_SESSION* session) {
  TlsSessions* const self = of_context(SSL_get_SSL_CTX(ssl));
  // Until its client has authenticated a session is nobody's.
  if (self != nullptr && SSL_version(ssl) >= TLS1_3_VERSION && carried(session) != nullptr) self->add(session);
  return 0;
}

void TlsSessions::on_removed(SSL_CTX* context, SSL_SESSION* session) {
  TlsSessions* const self = of_context(context);
  if (self == nullptr) return;
  const std::lock_guard lock(self->mutex_);
  if (const auto at = self->sessions_.find(id_of(session)); at != self->sessions_.end() && at->second.session == session) self->erase(at);
}

SSL_SESSION* TlsSessions::find(SSL* ssl, const unsigned char* id, int size, int* copied) {
  *copied = 0;
  SSL_CTX* const context = SSL_get_SSL_CTX(ssl);
  TlsSessions* const self = of_context(context);
  if (self == nullptr || size <= 0) return nullptr;
  std::unique_ptr<SSL_SESSION, Reference> out;
  {
    const std::lock_guard lock(self->mutex_);
    const auto at = self->sessions_.find(std::string(reinterpret_cast<const char*>(id), std::size_t(size)));
    if (at == self->sessions_.end()) return nullptr;
    if (Clock::now() - carried(at->second.session)->as->since >= self->lifetime_) {
      self->erase(at);
      return nullptr;
    }
    SSL_SESSION_up_ref(at->second.session);
    out.reset(at->second.session);
  }
  // It may have ended since, or the revocation list has: then there is a whole handshake, which says so.
  const Carried* const found = carried(out.get());
  if (X509* const certificate = SSL_SESSION_get0_peer(out.get()); certificate != nullptr && !still_verifies(context, certificate, found->path)) return nullptr;
  return out.release();
}

void TlsSessions::add(SSL_SESSION* session) {
  std::string id = id_of(session);
  if (id.empty()) return;
  const std::lock_guard lock(mutex_);
  if (const auto before = sessions_.find(id); before != sessions_.end()) erase(before);
  while (!sessions_.empty() && sessions_.size() >= most_) erase(sessions_.find(by_age_.front()));
  SSL_SESSION_up_ref(session);
  by_age_.push_back(id);
  sessions_.emplace(std::move(id), Kept{session, std::prev(by_age_.end())});
}

// With the mutex held.
void TlsSessions::erase(std::map<std::string, Kept>::iterator at) {
  SSL_SESSION_free(at->second.session);
  by_age_.erase(at->second.age);
  sessions_.erase(at);
}

std::size_t TlsSessions::size() const {
  const std::lock_guard lock(mutex_);
  return sessions_.size();
}

}  // namespace gatehouse::server
