// The Attestation IMC (spec part 2 §1.17): the client's side of the PTS protocol over a TPM 2.0.
//
//   server                                   client
//   Request Capabilities, Algorithm Request  Capabilities, Algorithm
//   DH Nonce Parameters Request              DH Nonce Parameters Response
//   DH Nonce Finish, Get TPM Version, AIK    TPM Version Information, AIK
//   Get Symlinks, Request Component Evidence, Generate Evidence
//                                            Symlinks, Simple Component Evidence ..., Simple Evidence Final
#pragma once

#include <optional>
#include <vector>

#include "base/key_agreement.h"
#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/imc/imc.h"
#include "endpoint/tpm/tpm.h"
#include "wire/pts/pts.h"

namespace gatehouse::endpoint {

struct AttestationConfig {
  // Preferred first; the first that the server offers too is taken.
  std::vector<DhGroup> dh_groups = {DhGroup::ecp256, DhGroup::ecp384, DhGroup::modp2048};
  std::size_t nonce_size = 20;                      // 17 to 255; more where the server demands more
  HashAlgorithm strongest = HashAlgorithm::sha384;  // banks above it aren't offered
  ByteVector aik_certificate;                       // DER; empty: the bare key
};

class AttestationImc final : public Imc {
 public:
  AttestationImc(AttestationConfig config, Tpm& tpm, EvidenceSource& source)
      : config_(std::move(config)), tpm_(tpm), source_(source) {}
  std::uint16_t id() const override { return 3; }  // 2 is the SWIMA IMC's, as with strongSwan
  std::uint32_t vendor() const override { return patnc::vendor_tcg; }
  std::uint32_t subtype() const override { return patnc::subtype_pts; }
  bool greets() const override { return false; }  // spec part 1b §1.8
  patnc::Supported supported() const override;
  Result<void> begin(Packer& out) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

  // What was left out of the evidence, and whether list and PCR 10 disagree: for the operator of the endpoint.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Result<void> select_algorithm(const patnc::Attribute& attribute, Packer& out);
  Result<void> offer_nonce(const patnc::Attribute& attribute, Packer& out);
  Result<void> finish_nonce(const patnc::Attribute& attribute);
  Result<void> tell_tpm_version(const patnc::Attribute& attribute, Packer& out);
  Result<void> tell_aik(Packer& out);
  Result<void> tell_symlinks(const patnc::Attribute& attribute, Packer& out);
  Result<void> collect(const patnc::Attribute& attribute, Packer& out);
  Result<void> generate(Packer& out);
  Result<void> finish(const Quote& quote, Packer& out);
  Result<void> send_error(std::uint32_t code, Bytes information, Packer& out);

  AttestationConfig config_;
  Tpm& tpm_;
  EvidenceSource& source_;
  std::vector<std::string> warnings_;

  // Of one handshake; begin() starts over.
  struct Progress {
    std::uint16_t capabilities = 0;
    std::optional<HashAlgorithm> bank;
    std::optional<KeyAgreement> key;  // between response and finish
    ByteVector nonce;                 // ours
    std::optional<Digest> secret;     // the quote's qualifying data; for one quote
    SharedEvidence boot, list;        // between Request Functional Component Evidence and Generate
  };
  Progress now_;
};

}  // namespace gatehouse::endpoint
