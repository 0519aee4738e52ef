// What the validators (IMVs) of a session share, and the host that performs what the sans-I/O core decides.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/key_agreement.h"
#include "base/secret.h"
#include "base/x509.h"
#include "pipeline/graph/pipeline.h"
#include "server/state/state.h"
#include "wire/patnc/patnc.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::server {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

class Host {
 public:
  virtual ~Host() = default;
  virtual void send(ByteVector plaintext) = 0;
  // After what was sent: TLS close_notify, then TCP.
  virtual void close() = 0;
  virtual void log(LogLevel level, std::string text) = 0;
  // From now; replaces the one before.
  virtual void set_deadline(std::chrono::milliseconds from_now) = 0;
  virtual void check_password(std::string user, Secret password) = 0;              // -> Session::on_password
  virtual std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) = 0;  // -> Session::on_outcome
  virtual void begin_session(SessionIntent intent) = 0;                            // -> Session::on_session_begun
  virtual void commit_result(SessionResult result) = 0;                            // -> Session::on_result_committed
  // Whether a batch more may come in, while `pending` bytes of this session wait to be judged; if not, Session::on_room
  // is called soon.
  virtual bool has_room(std::size_t pending) = 0;
  virtual std::shared_ptr<const refdb::View> references() = 0;                     // the current generation
  virtual std::int64_t now_ms() = 0;
  virtual ByteVector random(std::size_t bytes) = 0;
  // Seams for replays: a fixed nonce and a fixed shared secret.
  virtual std::optional<ByteVector> fixed_nonce() { return std::nullopt; }
  virtual std::optional<ByteVector> fixed_secret() { return std::nullopt; }
};

enum class Auth : std::uint8_t { none, tls, sasl, tls_or_sasl, tls_and_sasl };

struct Settings {
  Auth auth = Auth::tls;
  std::vector<HashAlgorithm> banks = {HashAlgorithm::sha256};  // offered to a device without a baseline
  std::uint16_t dh_groups = pts::group_ecp256 | pts::group_ecp384 | pts::group_modp2048;
  std::uint8_t minimum_nonce = 20;
  std::size_t max_batch = 65'522;
  std::shared_ptr<const TrustAnchors> ak_authorities;  // null: no AK certificates
  std::chrono::milliseconds negotiation_deadline{30'000}, idle_deadline{120'000}, total_deadline{600'000};
  std::uint64_t max_evidence_bytes = std::uint64_t(256) << 20;
  unsigned max_empty_rounds = 256, max_retries = 5;
  std::string command = "gatehouse";  // how commands are named to the operator
};

struct Peer {
  std::string address;        // "192.0.2.7:49152"
  std::string identity;       // authenticated by TLS: subject DN; empty: not
  std::string identity_type;  // "certificate", "password", ""
};

// What the endpoint says of itself: claims.
struct EndpointInfo {
  std::optional<std::string> name, version, device_id;
  std::optional<std::uint32_t> forwarding, default_password;
  bool numeric_version = false, operational_status = false;
  bool inconsistent = false;  // said twice, differently
  std::string product() const { return name && version ? *name + " " + *version : std::string(); }
};

struct PaOut {
  std::uint32_t vendor = 0, subtype = 0;
  std::uint16_t validator = 0;
  bool exclusive = false;
  std::uint16_t collector = pbtnc::any;
  ByteVector body;
};

struct Conversation {
  Host& host;
  const Settings& settings;
  State& state;
  Peer peer;
  std::string session;
  EndpointInfo info;
  std::string language = "en";
  std::uint32_t next_message_id = 0;
  std::vector<PaOut> out;
  unsigned errors_sent = 0;

  // One PA-TNC message to the endpoint.
  void say(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, patnc::Builder&& builder, std::uint16_t collector = pbtnc::any);
  patnc::Builder builder() const;
  // PA-TNC Error to the collector that sent the message; false when too many were sent.
  bool say_error(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, std::uint16_t collector, const patnc::Refusal& refusal,
                 Bytes header_copy);
  patnc::Contract offered_contract() const;
  void say_contract_response(patnc::Builder& builder, const patnc::Contract& asked) const;
};

struct ImvResult {
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  pipeline::Evaluation evaluation = pipeline::Evaluation::unknown;
};

// Learns product and Device ID; asks for what is missing (spec part 1b §4).
class OsImv {
 public:
  static constexpr std::uint16_t id = 1;
  explicit OsImv(Conversation& conversation) : c_(conversation) {}
  void receive(const pbtnc::PaMessage& pa, const patnc::Parsed& message);
  void failed() { failed_ = true; }  // a message of its type was malformed
  void batch_end();
  // Product and Device ID have come, or won't.
  bool settled() const { return result_.has_value(); }
  const std::optional<ImvResult>& result() const { return result_; }

 private:
  void assess();
  Conversation& c_;
  bool asked_ = false, failed_ = false;
  std::optional<ImvResult> result_;
};

// The seed's attestation flow (spec part 2 §1.17).
class AttestationImv {
 public:
  static constexpr std::uint16_t id = 3;
  explicit AttestationImv(Conversation& conversation) : c_(conversation) {}
  ~AttestationImv();
  void receive(const pbtnc::PaMessage& pa, const patnc::Parsed& message);
  void malformed(std::string_view why) { fail(std::string(why)); }
  void batch_end(bool os_settled);
  // The client has nothing more to say: what is demanded and didn't come is never allow.
  void client_silent();
  // The conversation ended before the verdict.
  void abandon(std::string_view why) { fail(std::string(why)); }
  void session_begun(Result<void> on_disk);
  void outcome(Result<pipeline::Outcome> outcome);
  bool waiting() const;
  bool done() const { return std::holds_alternative<Done>(state_); }
  std::size_t pending_bytes() const;

  // When done.
  pipeline::Verdict& verdict() { return std::get<Done>(state_).outcome.verdict; }
  SessionResult result(std::int64_t now);
  const SessionIntent& intent() const { return intent_; }
  std::vector<std::string> reasons() const;
  void say_assessment(pipeline::Evaluation evaluation);

 private:
  struct Init {};
  struct Discovery {
    std::uint16_t offered = 0;
    bool contract = false;
    std::optional<std::uint16_t> capabilities;
    std::optional<HashAlgorithm> bank;
  };
  struct NonceRequested {
    HashAlgorithm bank;
  };
  struct TpmInit {
    HashAlgorithm bank;
    Digest nonce;  // the secret assessment value
    std::optional<pts::TpmVersion> version;
    bool version_unavailable = false;
    std::optional<PublicKey> key;
  };
  struct Beginning {  // the intent is being written
    HashAlgorithm bank;
    Digest nonce;
    std::optional<std::uint8_t> locality;
    PublicKey key;
    KeyJudgement judgement;
  };
  struct AwaitingQuote {
    Digest nonce;
    std::optional<std::uint8_t> locality;
    PublicKey key;
    KeyJudgement judgement;
    std::unique_ptr<pipeline::Evidence> evidence;
    bool symlinks = false, asked = false;
    std::vector<std::string> claims;
    ByteVector header_copy;  // of the last evidence message
    std::uint16_t collector = pbtnc::any;
  };
  struct Judging {  // the evidence is complete
    PublicKey key;
    std::unique_ptr<pipeline::Evidence> evidence;
    ByteVector header_copy;
    std::uint16_t collector = pbtnc::any;
    bool first_use = false;
  };
  struct Done {
    pipeline::Outcome outcome;
    std::optional<PublicKey> quote_key, pending_key;
  };

  void fail(std::string why);
  void finish(pipeline::Verdict verdict, std::optional<PublicKey> pending_key = std::nullopt);
  pipeline::Verdict blank_verdict() const;
  void on_attribute(const pbtnc::PaMessage& pa, const patnc::Parsed& message, const patnc::Attribute& attribute);
  Result<void> on_capabilities(Reader& r);
  Result<void> on_algorithm(Reader& r);
  Result<void> on_dh_response(Reader& r);
  Result<void> on_tpm_version(Reader& r);
  Result<void> on_aik(Reader& r);
  void on_error(Reader& r);
  void on_envelope(const pbtnc::PaMessage& pa, const patnc::Attribute& attribute, Bytes header_copy);
  void on_final(const patnc::Attribute& attribute);
  void request_evidence();
  void judge_key();
  void submit(Bytes message, std::size_t base_offset);
  bool refuse(const Error& error, const pbtnc::PaMessage& pa, Bytes header_copy);

  Conversation& c_;
  std::variant<Init, Discovery, NonceRequested, TpmInit, Beginning, AwaitingQuote, Judging, Done> state_;
  patnc::Reassembler reassembler_;
  std::optional<Device> device_;
  SessionIntent intent_;
  bool begun_ = false;
};

// Known attributes of both subtypes: an unknown one is skipped or refused as its flag says.
bool supported(std::uint32_t vendor, std::uint32_t type);

// Text of a reason in the endpoint's language; English where there is no other.
std::string_view reason_text(std::string_view english, std::string_view language);

}  // namespace gatehouse::server
