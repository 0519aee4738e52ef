// The Attestation IMV: firmware log, IMA list and TPM quote, and the measurement of files. It leads the PTS protocol; the
// evidence plane judges what comes in (evidence.h), files are judged here (files.h).
#pragma once

#include <variant>

#include "base/key_agreement.h"
#include "server/imv/attestation/evidence.h"
#include "server/imv/attestation/files.h"
#include "server/imv/imv.h"

namespace gatehouse::server {

// The states of the TPM attestation (spec part 2 §1.17); files are asked for from the algorithm on, beside it.
//
//   Init ─▶ Discovery ─▶ NonceRequested ─▶ TpmInit ─▶ Beginning ─▶ AwaitingQuote ─▶ Judging ─▶ Done
//              └─▶ FilesOnly, where nothing is asked of the TPM   └─▶ Asking ─▶ Beginning, where the AK came in a certificate
//                                                                     whose responder is asked
class AttestationImv final : public Imv {
 public:
  AttestationImv(std::uint16_t id, Conversation& conversation);
  ~AttestationImv() override;

  std::string_view label() const override { return "Attestation"; }
  void receive(const Message& message) override;
  Result<void> receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) override;
  void malformed(std::string_view why) override { fail(std::string(why)); }
  bool waiting() const override;
  void session_begun(const Result<void>& on_disk) override;
  void status(CertificateOf whose, const Result<void>& status) override;
  void outcome(Result<pipeline::Outcome>& outcome) override;
  std::size_t pending_bytes() const override;
  pipeline::Verdict* verdict() override;
  Contribution contribution() const override;
  void contribute(SessionResult& record) override;
  std::vector<std::string> reasons() const override;
  void say_last() override;

 private:
  policy::Validator validator() const override { return policy::Validator::attestation; }
  void restart() override;
  void work() override;
  bool idle() const override { return item_ == nullptr && files_.done(); }
  void give_up() override;

  struct Init {};
  struct Discovery {
    std::uint16_t offered = 0;  // algorithms
    bool offered_again = false;
    std::optional<std::uint16_t> capabilities;
    std::optional<HashAlgorithm> bank;
    bool raw_announced = false;
  };
  struct FilesOnly {};
  struct NonceRequested {
    HashAlgorithm bank;
    std::uint16_t groups = 0;
    bool offered_again = false;
  };
  struct TpmInit {
    HashAlgorithm bank;
    Digest nonce;  // the secret assessment value
    std::optional<pts::TpmVersion> version;
    bool version_unavailable = false;
    std::optional<PublicKey> key;
    std::optional<std::pair<Certificate, Certificate>> certificate;  // that it came in, and its issuer: to be asked about
  };
  struct Beginning {  // the intent is being written
    HashAlgorithm bank;
    Digest nonce;
    std::optional<std::uint8_t> locality;
    PublicKey key;
    KeyJudgement judgement;
  };
  struct Asking {  // what the responder says of the AK's certificate
    Beginning next;
  };
  struct AwaitingQuote {
    Digest nonce;
    std::optional<std::uint8_t> locality;
    PublicKey key;
    KeyJudgement judgement;
    std::unique_ptr<EvidenceIntake> intake;
  };
  struct Judging {  // the evidence is complete
    PublicKey key;
    std::unique_ptr<EvidenceIntake> intake;
  };
  struct Done {
    pipeline::Outcome outcome;
    std::optional<PublicKey> quote_key, pending_key;
  };

  bool done() const { return std::holds_alternative<Done>(state_); }
  EvidenceIntake* intake();

  // The endpoint broke the protocol, or nothing can come of it any more: every item ends.
  void fail(std::string why);
  // The TPM attestation ends; files may go on.
  void fail_attestation(std::string why);
  void complete(Done done);
  void finish(pipeline::Verdict verdict, std::optional<PublicKey> pending_key = std::nullopt);
  pipeline::Verdict blank_verdict() const;
  // `field`: in the attribute's value.
  bool expect(bool good, std::string_view what, std::size_t field = 0);
  void refuse(const Message& message, const Error& error);
  // What is wrong, with its place in the message that is received.
  std::string at(std::string_view what, std::size_t field) const;
  void say_error(const Message& message, Writer&& value);
  void ask(std::uint32_t type, Bytes value);

  void begin();
  void leave_discovery(const Discovery& discovery);
  void offer_algorithms(std::uint16_t set);
  void offer_groups(std::uint16_t set);
  void judge_key();
  void hand_over();

  void on_attribute(const Message& message, const patnc::Attribute& attribute);
  Result<void> on_capabilities(Reader& r);
  Result<void> on_algorithm(const Message& message, Reader& r);
  Result<void> on_dh_response(const Message& message, Reader& r);
  Result<void> on_tpm_version(Reader& r);
  Result<void> on_aik(Reader& r);
  Result<void> on_raw(const Message& message, const patnc::Attribute& attribute);
  Result<void> on_evidence(const Message& message, const patnc::Attribute& attribute);
  void on_error(Reader& r);
  void on_pts_error(std::uint32_t code, Bytes information);

  std::variant<Init, Discovery, FilesOnly, NonceRequested, TpmInit, Asking, Beginning, AwaitingQuote, Judging, Done> state_;
  const policy::WorkItem* item_ = nullptr;  // TPMRA, while it is open
  FileItems files_;
  std::uint16_t raw_parts_ = 0;  // that the endpoint can give
  std::string trouble_;          // before there were items
  const Message* message_ = nullptr;  // while it is received
  std::size_t at_ = 0;                // of the attribute in it
};

}  // namespace gatehouse::server
