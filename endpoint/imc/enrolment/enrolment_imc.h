// The Enrolment IMC proves by credential activation that this TPM holds the attestation key (docs/formats/enrolment.md):
// says which keys there are, lets the TPM activate what the server sealed, answers with the proof.
#pragma once

#include <optional>
#include <string>

#include "endpoint/imc/imc.h"
#include "endpoint/tpm/activation.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::endpoint {

struct EnrolmentConfig {
  std::uint32_t vendor = 0;               // the private one, as the server has it
  std::optional<enrolment::Token> token;  // absent: the server knows the EK
  ByteVector certificate;                 // DER of the EK's, in place of the TPM's; empty: the TPM's
  std::vector<ByteVector> chain;          // DER, besides the TPM's
};

class EnrolmentImc final : public Imc {
 public:
  EnrolmentImc(EnrolmentConfig config, Activator& tpm) : config_(std::move(config)), tpm_(tpm) {}
  std::uint16_t id() const override { return 6; }
  std::uint32_t vendor() const override { return config_.vendor; }
  std::uint32_t subtype() const override { return enrolment::subtype; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer& out) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

  struct Told {
    enrolment::Code code = enrolment::Code::failed;
    std::string device, text;  // the server's; escape them
  };
  // Absent: the server said nothing of it.
  const std::optional<Told>& told() const { return told_; }

 private:
  Result<void> answer(const patnc::Attribute& attribute, Packer& out);

  EnrolmentConfig config_;
  Activator& tpm_;
  ByteVector request_;  // as it was sent
  bool answered_ = false;
  std::optional<Told> told_;
};

}  // namespace gatehouse::endpoint
