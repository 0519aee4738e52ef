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

enum class Recommendation : std::uint8_t { none, allow, isolate, block };

// What the server says of one component: IF-IMV's evaluation, and what to do about it.
struct Assessment {
  std::string component;  // "IETF/Operating System"
  std::uint32_t result = 4;
  std::vector<std::string> remediation;  // the peer's text, not escaped
};

// Attributes for one destination, packed greedily in order into messages of at most `limit` bytes; what is too large
// for a message is cut into segments as far as a contract of the peer allows.
class Packer {
 public:
  // `segmenter` holds the contract of the peer, `validator`, and what it fetches by Next Segment; it is kept between
  // messages.
  Packer(std::size_t limit, std::uint32_t& next_identifier, patnc::Segmenter& segmenter,
         std::uint16_t validator = pbtnc::any)
      : out_(limit, next_identifier), next_identifier_(next_identifier), segmenter_(segmenter), validator_(validator) {}

  // Who asked, and gets the answer; pbtnc::any where nobody did.
  std::uint16_t validator() const { return validator_; }
  // The longest attribute, header included, that add() takes now: what the peer's contract and the transport allow.
  std::size_t largest() const;

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
  bool empty() const { return out_.empty(); }
  std::vector<ByteVector> take() { return out_.take(&next_identifier_); }

 private:
  patnc::Builder out_;
  std::uint32_t& next_identifier_;
  patnc::Segmenter& segmenter_;
  std::uint16_t validator_;
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
  // Whether it speaks before it is spoken to: then its first message has our segmentation contract, and a handshake in
  // which it has nothing to say begins with the contract again, as strongSwan's clients make themselves known.
  virtual bool greets() const { return true; }
  // Validators that get something at the start of a handshake without asking for it again, and what (RFC 8412 3.8).
  virtual std::vector<std::uint16_t> subscribers() const { return {}; }
  virtual Result<void> fulfil(Packer&) { return {}; }
  // The validator's assessment result of this handshake.
  virtual void assessed(std::uint16_t /*validator*/, std::uint32_t /*result*/) {}
  // The verdict is there: whether the collector wants another handshake at once.
  virtual bool wants_retry(Recommendation) { return false; }
  // The attributes of one message that arrived whole and well-formed, one after the other. A malformed value is an
  // error of Fault::malformed with its offset and without a source: it is answered, and the collector goes on. Every
  // other error ends the session.
  virtual Result<void> receive(const patnc::Attribute& attribute, Packer& out) = 0;
};

// One collector's side of the conversation.
class Exchange {
 public:
  // `max_message`: of a PA-TNC message on this transport. `budget`: for the segmented requests of all collectors.
  Exchange(Imc& imc, std::size_t max_message, std::uint32_t& next_identifier, patnc::ReassemblyBudget& budget)
      : imc_(imc), max_message_(max_message), next_identifier_(next_identifier), budget_(budget) {}

  bool takes(const pbtnc::PaMessage& pa) const {
    return pa.vendor == imc_.vendor() && pa.subtype == imc_.subtype() && (!pa.exclusive || pa.collector == imc_.id());
  }
  // PB-PA messages to send.
  Result<std::vector<ByteVector>> begin();
  Result<std::vector<ByteVector>> receive(const pbtnc::PaMessage& pa);
  // The end of a batch; `spoke`: it had a PA-TNC message, of whatever subtype.
  void batch_end(bool spoke);
  bool wants_retry(Recommendation r) { return imc_.wants_retry(r); }
  const std::optional<Assessment>& assessment() const { return assessment_; }
  // "PA-TNC error ... of IMV 3", in order.
  const std::vector<std::string>& errors() const { return errors_; }
  void forget_errors() { errors_.clear(); }

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
  patnc::Reassembler& reassembler(std::uint16_t validator);
  // What we are willing to receive: any attribute, in segments that fit into a message of this transport.
  patnc::Contract own_contract() const { return {patnc::unlimited, std::uint32_t(patnc::max_segment(max_message_))}; }
  Result<void> ask_contract(Packer& out);
  Packer packer(std::uint16_t validator) {
    return Packer(max_message_, next_identifier_, segmenter(validator), validator);
  }
  // Only a direct answer is for its validator alone (spec part 1b §6.3).
  std::vector<ByteVector> pa_messages(std::vector<ByteVector> bodies, std::uint16_t validator, bool exclusive) const;
  void note_error(std::string text);

  Imc& imc_;
  std::size_t max_message_;
  std::uint32_t& next_identifier_;
  patnc::ReassemblyBudget& budget_;
  bool contracted_ = false;                               // our contract was sent on this connection
  std::map<std::uint16_t, patnc::Segmenter> segmenters_;  // by validator id
  std::map<std::uint16_t, patnc::Reassembler> reassembly_;
  std::optional<Assessment> assessment_;
  std::vector<std::string> errors_;
};

}  // namespace gatehouse::endpoint
