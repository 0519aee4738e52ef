// The Attestation IMC (spec part 2 §1.17): the client's side of the PTS protocol over a TPM 2.0.
//
//   server                                   client
//   Request Capabilities, Algorithm Request  Capabilities, Algorithm
//   DH Nonce Parameters Request              DH Nonce Parameters Response
//   DH Nonce Finish, Get TPM Version, AIK    TPM Version Information, AIK
//   Get Symlinks, Request Component Evidence, Generate Evidence
//                                            Symlinks, Simple Component Evidence ..., Simple Evidence Final
//   Request File Measurement, Request File Metadata
//                                            File Measurement, Unix-Style File Metadata
//
// and the raw-evidence extension (docs/formats/raw-evidence.md): announced beside the capabilities, given only when
// asked for. A server that asks for more than Spent allows ends the session with Fault::limit.
#pragma once

#include <optional>
#include <vector>

#include "base/key_agreement.h"
#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/imc/attestation/files.h"
#include "endpoint/imc/attestation/raw_list.h"
#include "endpoint/imc/imc.h"
#include "endpoint/tpm/tpm.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"

namespace gatehouse::endpoint {

struct AttestationConfig {
  // Preferred first; the first that the server offers too is taken.
  std::vector<DhGroup> dh_groups = {DhGroup::ecp256, DhGroup::ecp384, DhGroup::modp2048};
  std::size_t nonce_size = 20;                      // 17 to 255; more where the server demands more
  HashAlgorithm strongest = HashAlgorithm::sha384;  // banks above it aren't offered
  ByteVector aik_certificate;                       // DER; empty: the bare key
  // Of the raw-evidence extension; empty: what strongSwan's client says, and nothing else.
  std::optional<std::uint32_t> raw_vendor = pts::raw::default_vendor;
};

class AttestationImc final : public Imc {
 public:
  // Without `files`, requests for files are answered with PTS error 11.
  AttestationImc(AttestationConfig config, Tpm& tpm, EvidenceSource& source, FileSource* files = nullptr)
      : config_(std::move(config)), tpm_(tpm), source_(source), files_(files) {}
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
  Result<void> tell_capabilities(const patnc::Attribute& attribute, Packer& out);
  Result<void> select_algorithm(const patnc::Attribute& attribute, Packer& out);
  Result<void> offer_nonce(const patnc::Attribute& attribute, Packer& out);
  Result<void> finish_nonce(const patnc::Attribute& attribute);
  Result<void> tell_tpm_version(const patnc::Attribute& attribute, Packer& out);
  Result<void> tell_aik(Packer& out);
  Result<void> tell_symlinks(const patnc::Attribute& attribute, Packer& out);
  Result<void> measure_files(const patnc::Attribute& attribute, Packer& out);
  Result<void> describe_files(const patnc::Attribute& attribute, Packer& out);
  // False: the error was sent.
  Result<bool> may_look(std::uint32_t delimiter, const patnc::Attribute& attribute, Packer& out) const;
  Result<void> refuse_path(FileFault fault, std::string_view path, const patnc::Attribute& attribute, Packer& out);
  Result<void> collect(const patnc::Attribute& attribute, Packer& out);
  Result<void> collect_raw(const patnc::Attribute& attribute);
  Result<void> generate(Packer& out);
  // The quote, and the values of these PCRs that it covers.
  struct Quoted {
    Quote quote;
    PcrValues pcrs;
  };
  Result<Quoted> quote(const Digest& nonce);
  std::optional<ListPrefix> raw_prefix(const Quoted& quoted) const;
  Result<bool> reread_raw_list(const Quoted& quoted);
  Result<Quoted> quote_raw_list(const Digest& nonce);
  Result<void> send_list(const Quoted& quoted, Packer& out);
  Result<void> send_raw(const Quoted& quoted, Packer& out);
  // False: it fits into no message of this transport.
  Result<bool> send_raw_list(const Quoted& quoted, Packer& out);
  Result<void> finish(const Quote& quote, Packer& out);
  Result<void> send_error(Writer value, Packer& out) const;
  Result<void> send_request_error(std::uint32_t code, const patnc::Attribute& request, Packer& out) const;
  void warn(std::string text);

  AttestationConfig config_;
  Tpm& tpm_;
  EvidenceSource& source_;
  FileSource* files_;
  std::vector<std::string> warnings_;

  // Raw evidence between its request and Generate.
  struct Raw {
    pts::raw::Request request;
    std::uint16_t missing = 0;  // parts that can't be given
    ByteVector log, list;
    std::uint32_t log_pcrs = 0, list_pcrs = 0;
  };
  // Of one handshake; begin() starts over.
  struct Progress {
    std::uint16_t capabilities = 0;
    bool announced = false;  // raw evidence
    std::optional<HashAlgorithm> bank;
    std::optional<KeyAgreement> key;  // between response and finish
    ByteVector nonce;                 // ours
    std::optional<Digest> secret;     // the quote's qualifying data; for one quote
    SharedEvidence boot, list;        // between Request Functional Component Evidence and Generate
    std::optional<Raw> raw;
  };
  Progress now_;
  // What a server had of this handshake, whatever it starts over in it. A conversation takes a few dozen requests and
  // one quote.
  struct Spent {
    std::size_t requests = 0, quotes = 0, symlinks = 0;
    FileBudget files;
  };
  static constexpr std::size_t max_requests = 4096, max_quotes = 4, max_symlinks = 16;
  Spent spent_;
};

}  // namespace gatehouse::endpoint
