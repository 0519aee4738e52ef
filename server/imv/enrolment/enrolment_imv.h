// The Enrolment IMV has no opinion on an endpoint: it enrols its attestation key (AK) by credential activation, where an
// operator opened an enrolment or the endpoint's TPM is known (docs/formats/enrolment.md).
//
//   collector                            validator
//     Enrolment Request ───────────────▶  idle: who is expected, the EK's certificate, both public areas
//                                         asking: what the certificate's responder says (OCSP), where that is wanted
//     ◀──────────────── Enrolment Challenge  challenged: a secret that only this TPM gives away, for this AK
//     Enrolment Response ──────────────▶  writing: what it proves, to the state store
//     ◀────────────────── Enrolment Outcome  told
//
// One attempt an assessment; whatever isn't due ends it. Nothing is sealed, and no certificate looked at, before the token
// or the EK is known to the store.
#pragma once

#include <variant>

#include "base/secret.h"
#include "server/imv/imv.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::server {

class EnrolmentImv final : public Imv {
 public:
  EnrolmentImv(std::uint16_t id, Conversation& conversation);

  std::string_view label() const override { return "Enrolment"; }
  void receive(const Message& message) override;
  void malformed(std::string_view why) override;
  bool waiting() const override { return std::holds_alternative<Writing>(state_) || std::holds_alternative<Asking>(state_); }
  void status(CertificateOf whose, const Result<void>& status) override;
  void activated(const Result<void>& on_disk) override;

 private:
  policy::Validator validator() const override { return policy::Validator::none; }
  void restart() override { state_ = Idle{}; }
  void work() override {}
  bool idle() const override { return std::holds_alternative<Idle>(state_) || std::holds_alternative<Told>(state_); }
  void give_up() override;

  struct Idle {};
  struct Challenged {
    std::uint16_t collector = pbtnc::any;
    std::unique_ptr<Activation> what;
    std::string device;     // where it is known before
    Secret secret, token;   // what the TPM gives away; the token's key, empty: by the known EK
    Digest transcript;
  };
  struct Asking {
    Challenged next;
    ByteVector challenge;
  };
  struct Writing {
    std::uint16_t collector = pbtnc::any;
    std::string device;
  };
  struct Told {};

  void on_request(const Message& message, const patnc::Attribute& attribute);
  void on_response(const Message& message, const patnc::Attribute& attribute);
  void challenge(Challenged next, Bytes value);
  void tell(std::uint16_t collector, enrolment::Code code, std::string_view device, std::string_view text, const std::string& detail = {});

  std::variant<Idle, Asking, Challenged, Writing, Told> state_;
};

}  // namespace gatehouse::server
