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
  // `segmenter` holds the peer's contract and what it fetches by Next Segment; it is kept between messages.
  Packer(std::size_t limit, std::uint32_t& next_identifier, patnc::Segmenter& segmenter)
      : out_(limit, next_identifier), next_identifier_(next_identifier), segmenter_(segmenter) {}

  // Fault::limit: it fits into no message, and there is no contract to segment it. The second form copies a value that
  // has to wait.
  Result<void> add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, ByteVector&& value);
  Result<void> add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);
  // A complete attribute, header included.
  Result<void> add_whole(Bytes attribute);
  // The next piece of an attribute that the peer fetches; nothing if there is none with this id.
  void add_next_segment(const patnc::NextSegment& asked) { (void)segmenter_.next(out_, asked); }
  // Next Segment, if a step asks for one.
  void add_answer(const patnc::Reassembler::Step& step) { (void)patnc::add_next_segment(out_, step); }
  std::vector<ByteVector> take() { return out_.take(&next_identifier_); }

 private:
  patnc::Builder out_;
  std::uint32_t& next_identifier_;
  patnc::Segmenter& segmenter_;
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
    Bytes header;  // of the message
    patnc::Segmenter& segmenter;
    Packer& out;
  };
  // A malformed value is answered with the error that comes back.
  Result<void> accept(const patnc::Attribute& attribute, Incoming in);
  Result<void> accept_contract(const patnc::Attribute& attribute, Incoming in);
  Result<void> accept_segment(const patnc::Attribute& attribute, Incoming in);
  Result<void> note(const patnc::Attribute& attribute, std::uint16_t validator);
  Result<std::vector<ByteVector>> refuse(const patnc::Refusal& refusal, Bytes header_copy, const pbtnc::PaMessage& pa);
  patnc::Segmenter& segmenter(std::uint16_t validator) {
    return segmenters_.try_emplace(validator, max_message_).first->second;
  }
  std::vector<ByteVector> pa_messages(std::vector<ByteVector> bodies, std::uint16_t validator) const;

  Imc& imc_;
  std::size_t max_message_;
  std::uint32_t& next_identifier_;
  std::map<std::uint16_t, patnc::Segmenter> segmenters_;  // by validator id
  std::map<std::uint16_t, patnc::Reassembler> reassembly_;
  std::optional<Assessment> assessment_;
  std::vector<std::string> errors_;
};

}  // namespace gatehouse::endpoint
