// The Attestation IMV: firmware log, IMA list and TPM quote. It leads the PTS protocol; the evidence plane judges.
#pragma once

#include <variant>

#include "base/key_agreement.h"
#include "server/imv/imv.h"

namespace gatehouse::server {

// The seed's attestation flow (spec part 2 §1.17).
class AttestationImv final : public Imv {
 public:
  AttestationImv(std::uint16_t id, Conversation& conversation)
      : Imv(id, conversation, patnc::vendor_tcg, patnc::subtype_pts, admit_supported) {}
  ~AttestationImv() override;

  std::string_view label() const override { return "Attestation"; }
  void receive(const Message& message) override;
  void malformed(std::string_view why) override { fail(std::string(why)); }
  bool waiting() const override;
  void session_begun(const Result<void>& on_disk) override;
  void outcome(Result<pipeline::Outcome>& outcome) override;
  std::size_t pending_bytes() const override;
  const pipeline::Verdict* verdict() const override;
  void contribute(pipeline::Verdict& verdict, SessionResult& record) override;
  std::vector<std::string> reasons() const override;
  void say_last() override;

 private:
  policy::Validator validator() const override { return policy::Validator::attestation; }
  void restart() override;
  void work() override;
  bool idle() const override { return done() || item_ == nullptr; }
  void give_up() override;

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

  bool done() const { return std::holds_alternative<Done>(state_); }
  void fail(std::string why);
  void complete(Done done);
  void finish(pipeline::Verdict verdict, std::optional<PublicKey> pending_key = std::nullopt);
  pipeline::Verdict blank_verdict() const;
  // `field`: in the attribute's value.
  bool expect(bool good, std::string_view what, std::size_t field = 0);
  void on_attribute(const Message& message, const patnc::Attribute& attribute);
  Result<void> on_capabilities(Reader& r);
  Result<void> on_algorithm(Reader& r);
  Result<void> on_dh_response(Reader& r);
  Result<void> on_tpm_version(Reader& r);
  Result<void> on_aik(Reader& r);
  void on_error(Reader& r);
  void on_final(const patnc::Attribute& attribute);
  void request_evidence();
  void judge_key();
  void refuse(const Message& message, const Error& error);
  void ask(std::uint32_t type, Bytes value, std::uint8_t flags = patnc::noskip);

  std::variant<Init, Discovery, NonceRequested, TpmInit, Beginning, AwaitingQuote, Judging, Done> state_;
  const policy::WorkItem* item_ = nullptr;  // TPMRA
  const Message* message_ = nullptr;        // while it is received
  std::size_t at_ = 0;                      // of the attribute in it
};

}  // namespace gatehouse::server
