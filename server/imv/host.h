// What the sans-I/O core of a session asks of the shell around it, and what it is configured with. Every action is
// answered through the Session's on_…() calls, never inside the call that asked for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/scram.h"
#include "base/secret.h"
#include "base/x509.h"
#include "pipeline/graph/pipeline.h"
#include "server/evidence/capture.h"
#include "server/policy/policy.h"
#include "server/state/state.h"
#include "wire/enrolment/enrolment.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::server {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
// Whose status is asked for.
enum class CertificateOf : std::uint8_t { ak, ek };
enum class Direction : std::uint8_t { client_to_server, server_to_client };

class Host {
 public:
  virtual ~Host() = default;
  virtual void send(ByteVector plaintext) = 0;
  // After what was sent: TLS close_notify, then TCP.
  virtual void close() = 0;
  virtual void log(LogLevel level, std::string text) = 0;
  // False: what is said on this level is dropped, and needn't be put into words.
  virtual bool logs(LogLevel) const { return true; }
  // From now; replaces the one before.
  virtual void set_deadline(std::chrono::milliseconds from_now) = 0;
  virtual void check_password(std::string user, Secret password) = 0;              // -> Session::on_password
  virtual ScramRecord scram_record(const std::string& user) = 0;                   // microseconds
  // An attempt at a password has ended.
  virtual void password_attempt(bool /*good*/) {}
  virtual std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) = 0;  // -> Session::on_outcome
  virtual void begin_session(SessionIntent intent) = 0;                            // -> Session::on_session_begun
  virtual void commit_result(SessionResult result) = 0;                            // -> Session::on_result_committed
  virtual void stage_software(SoftwareChunk chunk) = 0;                            // -> Session::on_staged
  virtual void activate(Activation activation) = 0;                                // -> Session::on_activated
  // What its responder says of a certificate (OCSP), where the settings want that of its kind; for this session.
  virtual void ask_status(std::string /*session*/, CertificateOf /*whose*/, Certificate /*certificate*/, Certificate /*issuer*/) {}  // -> Session::on_status
  // Whether a batch more may come in, while `pending` bytes of this session wait to be judged; if not, Session::on_room
  // is called soon.
  virtual bool has_room(std::size_t pending) = 0;
  virtual std::shared_ptr<const refdb::View> references() = 0;                     // the current generation
  // Another assessment on a kept connection: settings and references that were read since the one before hold from here.
  virtual void renew() {}
  virtual std::int64_t now_ms() = 0;
  virtual ByteVector random(std::size_t bytes) = 0;
  // Seams for replays: a fixed nonce, a fixed shared secret, and the first request id of the SWIMA IMV.
  virtual std::optional<ByteVector> fixed_nonce() { return std::nullopt; }
  virtual std::optional<ByteVector> fixed_secret() { return std::nullopt; }
  virtual std::optional<std::uint32_t> fixed_request_id() { return std::nullopt; }
  // For metrics; nothing is made of them where nobody counts. The verdict as the endpoint is told it; a session that ended
  // before; errors that were sent or received, whose code is none of the standard's where it is absent.
  virtual void told(pipeline::Recommendation, pipeline::Evaluation) {}
  // Monitor mode: it was judged otherwise than it was told.
  virtual void monitored(pipeline::Recommendation /*judged*/) {}
  // For the shadow policy, behind commit_result() of the same session: what its verdict was made of, and the evidence
  // plane's part of it (null: there was none).
  virtual void judged(std::shared_ptr<const evidence::Kept> /*kept*/, std::shared_ptr<const pipeline::Verdict> /*verdict*/,
                      std::shared_ptr<const pipeline::Verdict> /*attested*/) {}
  virtual void ended_early() {}
  virtual void enrolled(enrolment::Code) {}  // what came of one
  virtual void error(Direction, std::optional<pttls::ErrorCode>) {}
  virtual void error(Direction, std::optional<pbtnc::ErrorCode>) {}
  // For traces (docs/formats/trace.md); nothing is made of them where nobody listens. Each PT-TLS message in order, with
  // its header; of one that is refused or that nobody reads, as much of it as there is. Facts may be secret.
  virtual void trace_message(Direction, Bytes) {}
  // Whether it is; where not, nobody need make a message for it.
  virtual bool traces() const { return true; }
  virtual void trace_fact(std::string_view, Bytes) {}
  void trace_fact(std::string_view fact, std::string_view text) { trace_fact(fact, as_bytes(text)); }
};

// What is kept of sessions' evidence.
enum class Keep : std::uint8_t { none, refused, all };

enum class Auth : std::uint8_t { none, tls, sasl, tls_or_sasl, tls_and_sasl };

struct Settings {
  Auth auth = Auth::tls;
  std::vector<HashAlgorithm> banks = {HashAlgorithm::sha256};  // offered to a device without a baseline
  std::uint16_t dh_groups = pts::group_ecp256 | pts::group_ecp384 | pts::group_modp2048;
  std::uint8_t minimum_nonce = 20;
  bool raw_evidence = true;  // asked for where the endpoint can give it
  std::uint32_t raw_vendor = pts::raw::default_vendor;
  std::size_t max_batch = 65'522;
  policy::PolicyPtr policy = policy::built_in_policy();
  policy::PolicyPtr shadow;  // judged besides, without effect; null: none
  bool enforce = true;       // false: endpoints are told allow, verdicts are recorded as judged
  Keep keep = Keep::none;
  std::shared_ptr<evidence::Memory> evidence_memory;  // of all sessions; null: nothing is kept and no shadow judges
  bool captures() const { return evidence_memory != nullptr && (keep != Keep::none || shadow != nullptr); }
  std::shared_ptr<const TrustAnchors> ak_authorities;  // null: no AK certificates
  bool ak_status = false;  // their responder is asked for AK certificates' status
  std::shared_ptr<const TrustAnchors> ek_authorities;  // null: no EK certificates count
  bool ek_status = false;  // and of EK certificates, by which endpoints are enrolled
  std::chrono::milliseconds negotiation_deadline{30'000}, idle_deadline{120'000}, total_deadline{600'000};
  std::chrono::milliseconds kept_deadline{std::chrono::hours(25)};  // of an authenticated endpoint between assessments
  std::chrono::milliseconds retry_interval{10'000};
  pttls::ResultWidth sasl_result_width = pttls::ResultWidth::automatic;
  std::uint64_t max_evidence_bytes = std::uint64_t(256) << 20;
  unsigned max_empty_rounds = 256, max_retries = 5;
  // Where PT-TLS is spoken, told to endpoints that come by EAP (TCG PB-PDP-Referral): a name, or an address of 4 or 16 bytes.
  struct Referral {
    pbtnc::PdpReferral::Kind kind = pbtnc::PdpReferral::Kind::fqdn;
    ByteVector host;
    std::uint16_t port = 271;
  };
  std::optional<Referral> referral;
  bool test_imv = false;     // for acceptance tests: an endpoint's Test collector may say what is recommended
  unsigned test_rounds = 0;  // times that it is asked to repeat its command
  std::string command = "gatehouse";  // how commands are named to the operator
};

struct Peer {
  std::string address;        // "192.0.2.7:49152"
  std::string identity;       // authenticated: subject DN or user name; empty: not
  std::string identity_type;  // "certificate", "password", ""
  CertificateNames certificate{};  // of the identity, where it is one
  ChannelBinding channel{};   // of the TLS connection; empty: none
};

}  // namespace gatehouse::server
