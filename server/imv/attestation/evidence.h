// What one TPM attestation asks for and gets (spec part 2 §1.9-§1.12, §2): Simple Component Evidence, or the logs as they
// are from an endpoint that can give them (docs/formats/raw-evidence.md), and the quote. Evidence goes on to the evidence
// plane as it comes; no log and no list is held here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/imv/channel.h"
#include "wire/pts/raw_evidence.h"

namespace gatehouse::server {

class EvidenceIntake {
 public:
  struct Wanted {
    bool boot = false, ima = false;
    std::uint16_t raw = 0;  // parts, of those that the endpoint can give
  };
  EvidenceIntake(Wanted wanted, std::uint32_t raw_vendor, std::unique_ptr<pipeline::Evidence> evidence);

  // Get Symlinks, the requests, Generate Attestation Evidence.
  void ask(Channel& channel);
  bool asked() const { return asked_; }

  // Protocol faults: what wasn't asked for, or comes a second time or too late. Malformed: a value breaks its format, at
  // an offset in its message; a piece's counts from the base attribute.
  Result<void> take_components(const Message& message);
  Result<void> take_symlinks(const patnc::Attribute& attribute);
  Result<void> take_raw(const Message& message, const patnc::Attribute& attribute);
  Result<void> take_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece);
  Result<void> take_final(const patnc::Attribute& attribute);
  // Parts that the endpoint can't give after all.
  void unavailable(std::uint16_t parts) { done_ |= parts; }

  // Simple Evidence Final is there, and nothing that was asked for is on its way.
  bool complete() const { return final_ && (wanted_.raw & ~done_) == 0; }
  bool has_final() const { return final_.has_value(); }

  struct Signer {
    PublicKey key;                     // the session's AK
    std::optional<DeviceKey> record;   // what is recorded of it
  };
  // Hands everything to the evidence plane, which judges. Once. An error: the Raw Quote contradicts Simple Evidence Final or
  // the session's AK, and nothing was handed over.
  Result<void> finish(const Signer& signer, Bytes nonce, std::optional<std::uint8_t> locality);

  // Where in what the endpoint sent the evidence plane found its error: what a PA-TNC error quotes.
  struct Place {
    std::uint16_t collector = pbtnc::any;
    ByteVector header_copy;
    std::size_t offset = 0;
  };
  std::optional<Place> place_of(const Error& error) const;
  std::size_t pending_bytes() const { return evidence_->pending_bytes(); }

 private:
  // A raw log on its way: its origin is where the log's first byte lies.
  template <class Stream>
  struct Log {
    Stream stream;
    Place origin;
    std::uint32_t transfer = 0;
  };
  Result<void> expect_raw(std::uint16_t part, std::size_t offset) const;
  template <class Stream>
  Result<void> take_log(std::optional<Log<Stream>>& log, std::uint16_t part, Bytes bytes, bool last);
  Result<void> submit(const Log<pts::raw::FirmwareLogStream>& log, Bytes bytes);
  Result<void> submit(const Log<pts::raw::ImaListStream>& log, Bytes bytes);
  Result<pipeline::AttestationKey> attestation_key(const Signer& signer) const;
  Result<void> check_same_quote(Bytes nonce) const;

  const Wanted wanted_;
  const std::uint32_t raw_vendor_;
  const std::unique_ptr<pipeline::Evidence> evidence_;
  bool asked_ = false, symlinks_ = false;
  std::uint16_t done_ = 0;  // raw parts that came or won't
  Place components_;        // of the last message with Simple Component Evidence
  std::optional<Log<pts::raw::FirmwareLogStream>> boot_;
  std::optional<Log<pts::raw::ImaListStream>> list_;
  struct RawParts {
    ByteVector attest, signature, public_area;
  };
  std::optional<RawParts> raw_quote_;
  std::optional<pipeline::FinalQuote> final_;
  std::vector<std::string> claims_;
};

}  // namespace gatehouse::server
