// What a TLS session carries over to those that resume it (RFC 5281 section 7.4, RFC 9427 section 3.1): who has authenticated
// inside its tunnel, and never what came of it. Whoever resumes a session is assessed as anybody.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace gatehouse::server {

// Who the client is, as far as it was proved.
struct EapIdentity {
  std::string name;  // the certificate's subject, or the user's name
  std::string type;  // "certificate", "password"
  friend bool operator==(const EapIdentity&, const EapIdentity&) = default;
};

// Shared by the conversations of one session, on whatever threads.
struct Resumable {
  Resumable(std::string said, EapIdentity proved) : user(std::move(said)), identity(std::move(proved)) {}
  const std::string user;  // as claimed inside the tunnel
  const EapIdentity identity;
  std::chrono::steady_clock::time_point since{};  // of its whole authentication; set before anybody shares it
  // It can't be assessed, so a conversation that is resumed doesn't ask for that once more: some clients take nothing inside the
  // tunnel then. What it gets is what it would get for refusing again.
  std::atomic<bool> refuses_assessment{false};
};

}  // namespace gatehouse::server
