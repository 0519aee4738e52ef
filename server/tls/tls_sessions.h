// TLS sessions that clients of EAP-TTLS may resume: those alone that ended in an authentication, for a bounded time from that on, and
// no longer than the client's certificate holds. In memory, bounded, of one TLS context: with new settings (SIGHUP) all are
// forgotten. Any thread.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/bytes.h"
#include "server/eap/resumption.h"

namespace gatehouse::server {

class TlsSessions {
 public:
  using Clock = std::chrono::steady_clock;
  // Makes the context's sessions resumable; it doesn't outlive this.
  static std::unique_ptr<TlsSessions> of(SSL_CTX* context, std::chrono::seconds lifetime, std::size_t most = 16'384);
  ~TlsSessions();
  TlsSessions(const TlsSessions&) = delete;
  TlsSessions& operator=(const TlsSessions&) = delete;

  // After an authentication: this connection's session may be resumed as whoever this is.
  void keep(SSL* ssl, const std::shared_ptr<Resumable>& as);
  // Of a connection that resumes one; null: it doesn't.
  static std::shared_ptr<Resumable> resumed(SSL* ssl);
  // And who issued its client's certificate, DER, by the path that was verified; empty: it resumes none, or there is nobody.
  static ByteVector issuer(SSL* ssl);
  std::size_t size() const;

 private:
  struct Kept {
    SSL_SESSION* session = nullptr;  // a reference of its own
    std::list<std::string>::iterator age;
  };
  explicit TlsSessions(std::chrono::seconds lifetime, std::size_t most) : lifetime_(lifetime), most_(most) {}
  static int on_new(SSL* ssl, SSL_SESSION* session);
  static void on_removed(SSL_CTX* context, SSL_SESSION* session);
  static SSL_SESSION* find(SSL* ssl, const unsigned char* id, int size, int* copied);
  void add(SSL_SESSION* session);
  void erase(std::map<std::string, Kept>::iterator at);

  const std::chrono::seconds lifetime_;
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::map<std::string, Kept> sessions_;  // guarded by mutex_: by session id
  std::list<std::string> by_age_;         // guarded by mutex_: the oldest first
};

}  // namespace gatehouse::server
