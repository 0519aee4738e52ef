// One peer's conversation over PT-TLS or PT-EAP, sans I/O: bytes of TLS application data, or whole batches, and
// completions come in, the Host performs what follows. No socket, no clock, no thread, no random number but through the Host, so a test can run whole conversations
// on a virtual clock. All calls for a session come from one thread at a time (its strand).
//
//   Session session(host, settings, state, peer);
//   session.feed(plaintext);              // as often as bytes arrive; over PT-EAP take_batch()
//   session.on_session_begun(id, result);  // answers to what the host was asked to do
//
// PT-TLS: RFC 6876; PT-EAP: RFC 7171; PB-TNC: RFC 5793; spec part 1a §1, §2.6, §4, §7.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/secret.h"
#include "server/imv/imv.h"
#include "server/session/sasl.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pbtnc/state.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::server {

// What carries the batches. Over PT-TLS version and authentication are negotiated here. Over PT-EAP the tunnel's methods
// have done so, a batch is the content of one packet, and what the host is to send is a batch.
enum class Carrier : std::uint8_t { pt_tls, pt_eap };

class Session {
 public:
  Session(Host& host, const Settings& settings, State& state, Peer peer, Carrier carrier = Carrier::pt_tls);
  ~Session();

  void feed(Bytes plaintext);
  // In place of the argument, as the framer has it: what is written into room() and counted by came() is taken in by feed({}), once
  // no more of it is wanted.
  std::span<std::byte> room() { return framer_.room(); }
  bool came(std::size_t bytes);
  void wait() { framer_.wait(); }
  // Over PT-EAP: the content of one packet, not empty. Only while wants_data().
  void take_batch(Bytes batch);
  void on_password(bool good);
  // `session`: of the intent, context or result that the host was given. A client that starts over has another session,
  // and what belonged to the one it left comes too late.
  void on_session_begun(std::string_view session, Result<void> on_disk);
  void on_staged(std::string_view session, Result<void> on_disk);
  void on_activated(std::string_view session, Result<void> on_disk);
  void on_status(std::string_view session, CertificateOf whose, Result<void> status);
  void on_outcome(std::string_view session, Result<pipeline::Outcome> outcome);
  void on_result_committed(std::string_view session, Result<void> on_disk);
  // The host's timer, set by Host::set_deadline.
  void on_deadline();
  // The evidence plane has room again, or may have.
  void on_room();
  // The server stops: between assessments the session ends now, else when its verdict is told.
  void on_stop();
  // TCP or TLS ended.
  void on_peer_gone();
  // Ends it before it has begun.
  void refuse(std::string_view why) { finish_with(why); }
  // Asks for another assessment on a kept connection (SRETRY); false where that can't be: to an endpoint that isn't ours,
  // or before the verdict.
  bool reassess();

  bool ended() const { return phase_ == Phase::ended; }
  // The verdict that the endpoint was told and took note of: in Decided, or closed by it from there with nothing to say
  // against it. Empty: there is none that counts.
  std::optional<pipeline::Recommendation> concluded() const { return concluded_; }
  // While false, nothing more has to be read from the peer: TCP does the rest.
  bool wants_data() const { return phase_ != Phase::ended && !answer_due_ && !checking_password(); }
  // What it is at: the negotiation of PT-TLS, a password that is checked, or between its verdict and another assessment.
  bool negotiating() const { return phase_ == Phase::version || phase_ == Phase::authentication; }
  bool checking_password() const { return sasl_ && sasl_->waiting(); }
  bool decided() const { return phase_ == Phase::data && pb_.state() == pbtnc::State::decided; }
  const std::string& id() const { return conversation_.session; }
  // While its verdict is told (Host::told): whether it is sure who it is of, by an identity that the device is bound to or by
  // its key's quote, and the policy's groups that hold it, the nearest first; none where it isn't sure.
  bool sure() const;
  std::vector<std::string> groups() const;
  // As claimed; empty: none, or not said yet.
  std::string device() const { return conversation_.info.device_id.value_or(""); }

 private:
  enum class Phase : std::uint8_t { version, authentication, data, ended };

  void pump();
  void on_message(const pttls::Message& message);
  void on_version(const pttls::Message& message);
  void perform(SaslServer::Step step, Bytes received);
  void on_batch(Bytes batch);
  bool start_over(pbtnc::State before);
  void deliver(const pbtnc::Batch& batch);
  void log_attributes(std::span<const patnc::Attribute> attributes);
  void end_batch();
  void advance();
  void flush();
  bool all_done() const;
  bool waiting() const;
  SessionResult assemble();
  std::shared_ptr<evidence::Kept> evidence_to_keep();
  void conclude();
  void enqueue();
  void refer();
  void send_result();
  void send_what_fits();
  void log_verdict(pipeline::Recommendation told);
  void send_message(pttls::Type type, Bytes value);
  void send_batch(pbtnc::BatchType type, Bytes messages);
  void refuse_transport(pttls::ErrorCode code, Bytes offending, std::string_view why, std::size_t offset = 0);
  void refuse_batch(const pbtnc::Refusal& refusal);
  void finish_with(std::string_view why);
  void record_failure(std::string_view why);
  void rest();
  void forget();
  void start_assessment();
  void await_client();
  // Over PT-EAP the verdict ends it.
  bool may_be_kept() const { return carrier_ == Carrier::pt_tls && !conversation_.peer.identity_type.empty(); }

  Host& host_;
  const Settings& settings_;
  const Carrier carrier_;
  Conversation conversation_;
  std::vector<std::unique_ptr<Imv>> imvs_;     // none between assessments of a kept connection, where nothing is left of them ...
  std::vector<Imv::Lasting> lasting_;          // ... but this, in the same order
  std::unique_ptr<pipeline::Verdict> verdict_;  // from assemble() on, until it is told

  pttls::Framer framer_;
  Phase phase_ = Phase::version;
  std::uint32_t next_identifier_ = 0;
  std::uint32_t next_received_ = 0;  // in a trace of PT-EAP
  std::unique_ptr<SaslServer> sasl_;  // in Phase::authentication
  pbtnc::StateMachine pb_{pbtnc::Role::server};
  pbtnc::Queue queue_;
  std::optional<pbtnc::Queue::ResultContent> result_;  // while it waits for what goes before it
  bool answer_due_ = false;      // a batch was taken in and not answered yet: nothing more is read
  bool client_silent_ = false;   // that batch was empty
  bool committing_ = false, recorded_ = false, on_record_ = false, pumping_ = false, stopping_ = false;
  pipeline::Recommendation told_ = pipeline::Recommendation::none;  // in RESULT
  std::optional<pipeline::Recommendation> concluded_;
  bool unknown_device_ = false;  // all that keeps the endpoint out is that it isn't enrolled
  bool referred_ = false;
  unsigned retries_ = 0, empty_rounds_ = 0, transport_errors_ = 0;
  std::uint64_t evidence_bytes_ = 0;
  std::int64_t started_ = 0, last_retry_ = 0;
};

}  // namespace gatehouse::server
