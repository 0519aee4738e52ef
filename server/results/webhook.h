// Results to an HTTP server of the operator's (`[[results.webhook]]`): a POST for each, in the order in which they came on
// record, until it was answered with 2xx. What waits is bounded and lies on disk: it is the state store's own log of
// results, of which a small file beside it remembers the first that wasn't delivered. So a crash loses none and a target
// that hangs, refuses or is away for a day blocks nothing. A result may be delivered twice around a crash; its session's
// id in the request says so.
//
//   GH_TRY(auto hook, Webhook::open({.url = "https://soc.example/gatehouse", .place = "state/webhook-1.next"}, source));
//   hook->wake();   // a result has come on record
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/secret.h"
#include "server/results/waiting_lines.h"
#include "server/state/audit.h"

namespace gatehouse::server {

// Where the results are.
struct ResultSource {
  // As State::audit_results().
  std::function<Result<AuditResults>(std::uint64_t from, std::size_t most)> results;
  // What is sent of a session; nullopt: it isn't there any more.
  std::function<Result<std::optional<std::string>>(const std::string& session)> body;
};

struct WebhookOptions {
  std::string url;
  std::string place;         // file with the first result that wasn't delivered; none: begins with what comes now
  std::string content_type = "application/json";
  Secret key;                // of the signature; empty: none
  std::string ca;            // PEM file of authorities; empty: those of the system
  std::uint64_t queue = 100'000;  // entries that may wait; beyond, the oldest are left out
  std::chrono::milliseconds connect_limit{10'000}, limit{30'000};          // of one attempt
  std::chrono::milliseconds first_pause{1'000}, longest_pause{300'000};  // between attempts: doubled each time, between half and all of it
};

// The value of the header Gatehouse-Signature: "sha256=" and HMAC-SHA-256 over the body in lower-case hex.
std::string webhook_signature(const Secret& key, std::string_view body);

class Webhook {
 public:
  // Environment faults: the place can't be written, libcurl can't begin.
  static Result<std::unique_ptr<Webhook>> open(WebhookOptions options, ResultSource source);
  // Ends a request that is under way; what waits is delivered after the next start.
  ~Webhook();
  Webhook(const Webhook&) = delete;
  Webhook& operator=(const Webhook&) = delete;

  // From any thread; never waits.
  void wake();
  // From then on the source isn't asked any more.
  void stop();
  DeliveryCounts counts() const;

 private:
  struct Impl;
  explicit Webhook(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
