// An integrity measurement collector, sans I/O: PA-TNC messages in, PA-TNC attributes out (spec part 1b §1, §3, §6).
// Exchange does what is the same for all of them: packing attributes into messages, contracts and segments.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/patnc/patnc.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::endpoint {

// What the server says of one component: IF-IMV's evaluation, and what to do about it.
struct Assessment {
  std::string component;  // "IETF/Operating System"
  std::uint32_t result = 4;
  std::vector<std::string> remediation;  // the peer's text, not escaped
};

// Attributes for one destination, packed greedily in order into messages of at most `limit` bytes; what is too large for a
// message is cut into segments as far as a contract of the peer allows.
class Packer {
 public:
  // The peer's contract, and the rest of each attribute that it fetches by Next Segment. Kept between messages.
  struct Sender {
    std::optional<patnc::Contract> contract;
    std::uint32_t last_id = 0;
    std::map<std::uint32_t, ByteVector> rests;
  };
  Packer(std::size_t limit, std::uint32_t& next_identifier, Sender& sender)
      : limit_(limit), next_identifier_(next_identifier), sender_(sender) {}

  // Fault::limit: it fits into no message, and there is no contract to segment it.
  Result<void> add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);
  // A complete attribute, header included.
  Result<void> add_whole(Bytes attribute);
  // The next piece of an attribute that the peer fetches; nothing if there is none with this id.
  void add_next_segment(std::uint32_t id);
  std::vector<ByteVector> take();

 private:
  std::size_t room() const;
  void put(Bytes header, Bytes value);
  void put_envelope(std::uint8_t flags, std::uint32_t id, Bytes segment);
  Result<void> put_segmented(Bytes header, Bytes value);
  void close();
  std::size_t limit_;
  std::uint32_t& next_identifier_;
  Sender& sender_;
  Writer message_;
  std::size_t attributes_ = 0;
  std::vector<ByteVector> messages_;
};

class Imc {
 public:
  virtual ~Imc() = default;
  virtual std::uint16_t id() const = 0;
  virtual std::uint32_t vendor() const = 0;
  virtual std::uint32_t subtype() const = 0;
  // Attribute types that it knows; what Exchange does by itself is among them.
  virtual patnc::Supported supported() const = 0;
  // A handshake starts, or starts over: forgets the one before, says what it says unasked.
  virtual Result<void> begin(Packer& out) = 0;
  // The attributes of one message that arrived whole and well-formed, one after the other. A malformed value is an error of
  // Fault::malformed with its offset and without a source: it is answered, and the collector goes on. Every other error
  // ends the session.
  virtual Result<void> receive(const patnc::Attribute& attribute, Packer& out) = 0;
};

// One collector's side of the conversation.
class Exchange {
 public:
  // `max_message`: of a PA-TNC message on this transport.
  Exchange(Imc& imc, std::size_t max_message, std::uint32_t& next_identifier)
      : imc_(imc), max_message_(max_message), next_identifier_(next_identifier) {}

  bool takes(const pbtnc::PaMessage& pa) const {
    return pa.vendor == imc_.vendor() && pa.subtype == imc_.subtype() && (!pa.exclusive || pa.collector == imc_.id());
  }
  // PB-PA messages to send.
  Result<std::vector<ByteVector>> begin();
  Result<std::vector<ByteVector>> receive(const pbtnc::PaMessage& pa);
  const std::optional<Assessment>& assessment() const { return assessment_; }
  // "PA-TNC error ... of IMV 3", in order.
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  struct Incoming {
    std::uint16_t validator;
    Packer::Sender& sender;
    Packer& out;
  };
  // A malformed value is answered with the error that comes back.
  Result<void> accept(const patnc::Attribute& attribute, Incoming in);
  Result<void> accept_contract(const patnc::Attribute& attribute, Incoming in);
  Result<void> accept_segment(const patnc::Attribute& attribute, Incoming in);
  Result<void> note(const patnc::Attribute& attribute, std::uint16_t validator);
  Result<std::vector<ByteVector>> refuse(const patnc::Refusal& refusal, Bytes header_copy, const pbtnc::PaMessage& pa);
  std::vector<ByteVector> pa_messages(std::vector<ByteVector> bodies, std::uint16_t validator) const;

  Imc& imc_;
  std::size_t max_message_;
  std::uint32_t& next_identifier_;
  std::map<std::uint16_t, Packer::Sender> senders_;    // by validator id
  std::map<std::uint16_t, patnc::Reassembler> reassembly_;
  std::optional<Assessment> assessment_;
  std::vector<std::string> errors_;
};

}  // namespace gatehouse::endpoint
