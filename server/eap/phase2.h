// What is said inside the EAP-TTLS tunnel, from the server's side, sans I/O (RFC 5281 section 7.2 and 11; spec part 1a §2.5):
// who the client is, then its assessment by PT-EAP.
//
//   client                                      server
//     EAP-Response/Identity, unasked or asked ──▶
//                              ◀── request of a method, unless the certificate of the handshake has said who it is
//     response, Nak ──▶                          as often as the method wants
//     or: User-Name, User-Password (PAP) ──▶     in place of Identity and method
//                              ◀── PT-EAP Start
//     CDATA batch ──▶                            from here on one batch a packet, each way
//                              ◀── RESULT batch
//     CLOSE batch ──▶
//
// Where TLS has resumed a session in which the client had authenticated, the method is left out, and nothing else: it is assessed, or
// gets what who can't be assessed gets. A client that says another name there authenticates as that.
//
// A client that can't do PT-EAP refuses it (Nak), or says nothing: what such a one gets is for the host to say. One that asks for
// EAP-TNC in its place gets that, where it is configured: the same batches under an older number.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"
#include "pipeline/verdict/verdict.h"
#include "server/eap/methods.h"
#include "server/eap/resumption.h"
#include "wire/eap/eap.h"

namespace gatehouse::server {

// What these state machines ask of who owns them. Answers come by the on_…() calls, never inside the call that asked.
class EapHost {
 public:
  virtual ~EapHost() = default;
  // What is stored of a user, and lives as long as the conversation; null: nothing, or nobody.
  virtual const StoredPassword* stored_password(const std::string& user) = 0;
  // Before an answer of the client's to a question for its password is looked at: who has guessed wrong waits, or isn't heard.
  // later -> on_turn(), false: refused after all
  enum class Turn : std::uint8_t { now, later, refused };
  virtual Turn turn(const std::string& /*user*/) { return Turn::now; }
  // A password, or an answer to a challenge, was right or wrong; right ones may be told twice.
  virtual void attempted(const std::string& /*user*/, bool /*good*/) {}
  virtual void check_password_of(std::string user, Secret password) = 0;  // -> on_password()
  // The handshake brought a certificate that is valid. True: its responder is asked first, and nothing of the client's is
  // listened to before. -> EapServer::on_certificate()
  virtual bool asks_for_certificate() { return false; }
  // Whether another server is asked about answers to a challenge of whom nothing is stored; about this one -> on_judged()
  virtual bool asks_elsewhere(const std::string& /*user*/) { return false; }
  virtual void judge_elsewhere(std::string /*user*/, ChallengeAnswer /*answer*/) {}
  // The client has authenticated (or failed to), once a conversation.
  virtual void authenticated(bool good, const std::string& user, std::string_view method, std::string_view reason) = 0;
  // The client can do PT-EAP: batches that it sends go to deliver(), -> on_batch(), on_assessed().
  virtual void begin_assessment(const EapIdentity& identity) = 0;
  virtual void deliver(Bytes batch) = 0;
  // It has nothing to say where a batch was expected. -> on_assessed()
  virtual void acknowledged() = 0;
  // It can't do PT-EAP. -> on_assessed()
  virtual void without_assessment(const EapIdentity& identity) = 0;
  virtual ByteVector random_bytes_of(std::size_t count) = 0;
};

class EapPhase2 {
 public:
  struct Config {
    std::vector<std::uint8_t> methods;  // EAP types, the preferred first
    bool pap = false;
    bool assess = true;  // PT-EAP is asked for
    bool tnc = false;    // or EAP-TNC, of a client that knows no PT-EAP
  };
  // `subject`: of the client's verified certificate; empty: it has none, and authenticates by a method, unless it had done so
  // `before`, in the session that this one resumes.
  EapPhase2(EapHost& host, const Config& config, std::string subject, std::shared_ptr<Resumable> before = nullptr);

  // Plaintext of one message of the client's; none: it had nothing to say. An error ends the conversation.
  Result<void> receive(Bytes plaintext);
  void on_password(bool good);
  void on_judged(bool good, std::string_view proof);
  void on_turn(bool heard = true);
  // The answer to what was delivered: a batch for the client, or the verdict that counts, where there is one. While
  // waiting().
  void on_batch(Bytes batch);
  void on_assessed(std::optional<pipeline::Recommendation> verdict);

  // Plaintext for the client; empty: there is none now.
  ByteVector take_plaintext();
  // Once it has authenticated, and once: as whom its session may be resumed; null: nothing new.
  std::shared_ptr<Resumable> take_resumable() { return std::exchange(resumable_, nullptr); }
  // The host is at work, and the client waits.
  bool waiting() const { return waiting_; }
  // Over, with nothing left to say.
  bool over() const { return over_; }
  // Once over; empty: the client fails.
  std::optional<pipeline::Recommendation> verdict() const { return verdict_; }
  std::string_view failure() const { return failure_; }
  const EapIdentity& identity() const { return identity_; }

 private:
  // Which response is awaited.
  enum class Expects : std::uint8_t { identity, method, pt_eap_answer, batch, end };

  Result<void> on_packet(Bytes eap);
  void on_identity(Bytes name);
  void begin_method(std::uint8_t type);
  void on_method_response(std::uint8_t type, Bytes data);
  void on_pap(std::string user, Secret password);
  void attempt(std::function<void()> what);
  void refuse_attempt();
  void accept_or_fail(std::string_view name, bool good, std::string_view reason);
  Result<void> on_pt_eap(std::uint8_t type, Bytes data);
  void on_nothing();
  void take_step(EapMethod::Step step);
  void accept(std::string_view method);
  void request(std::uint8_t type, Bytes data);
  void refuses_assessment();
  void fail_with(std::string_view reason);

  EapHost& host_;
  const Config& config_;
  const std::string subject_;
  const std::shared_ptr<Resumable> before_;
  std::shared_ptr<Resumable> carried_, resumable_;  // carried: what this session says of its client
  Expects expects_ = Expects::identity;
  EapIdentity identity_;
  std::string user_;  // as claimed
  std::unique_ptr<EapMethod> method_;
  std::function<void()> held_;         // what is done when it is the client's turn
  bool heard_ = false;                 // the method's turn has been
  std::uint8_t carrier_ = eap::type::pt_eap;  // or tnc
  std::vector<std::uint8_t> refused_;  // methods that the client has said Nak to
  std::uint8_t identifier_ = 0;        // of the last request
  bool asked_ = false;                 // there is a last request
  bool waiting_ = false, assessing_ = false, over_ = false;
  std::optional<pipeline::Recommendation> verdict_;
  std::string_view failure_;
  ByteVector out_;
};

}  // namespace gatehouse::server
