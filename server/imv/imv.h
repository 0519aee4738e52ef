// An Integrity Measurement Verifier (IMV): judges one kind of what an endpoint reports. A new one is a class in a folder
// of its own and a line in server/session/imvs.cpp.
//
// The session delivers PA-TNC messages by type (spec part 1b §6.3), then tells every IMV in order of the list that the
// batch is at its end; there an IMV decides what to ask next. When all have a result, the session makes the verdict of
// them. An IMV that has a result keeps it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/imv/channel.h"

namespace gatehouse::server {

struct ImvResult {
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  pipeline::Evaluation evaluation = pipeline::Evaluation::unknown;
};

class Imv : public Receiver {
 public:
  // `id`: its place in the list, from 1: the Posture Validator Identifier on the wire.
  Imv(std::uint16_t id, Conversation& conversation, std::uint32_t vendor, std::uint32_t subtype,
      patnc::Reassembler::Admit admit)
      : c_(conversation), id_(id), channel_(conversation, id, vendor, subtype, std::move(admit)) {}
  Imv(const Imv&) = delete;
  Imv& operator=(const Imv&) = delete;

  std::uint16_t id() const { return id_; }
  virtual std::string_view label() const = 0;
  // One message type for each IMV; several IMVs may have the same.
  bool subscribed(std::uint32_t vendor, std::uint32_t subtype) const {
    return channel_.vendor() == vendor && channel_.subtype() == subtype;
  }
  Channel& channel() { return channel_; }

  // Another assessment on this connection: everything but the channel's contracts starts anew.
  virtual void begin_assessment() = 0;
  virtual void batch_end() = 0;
  // The endpoint has nothing more to say: what was demanded and didn't come is never allow.
  virtual void solicit() = 0;
  // The conversation ended before the verdict.
  virtual void abandon(std::string_view why) = 0;

  // The store or the evidence plane is at work: no answer yet. What comes back is for the one that asked, who takes it.
  virtual bool waiting() const { return false; }
  virtual void session_begun(const Result<void>& /*on_disk*/) {}
  virtual void outcome(Result<pipeline::Outcome>& /*outcome*/) {}
  virtual std::size_t pending_bytes() const { return 0; }  // of evidence that isn't judged yet

  virtual std::optional<ImvResult> result() const = 0;
  // The verdict object, of the one IMV whose evidence makes it.
  virtual const pipeline::Verdict* verdict() const { return nullptr; }
  // When all have a result: what this one adds to the verdict's findings and to the session's record.
  virtual void contribute(pipeline::Verdict& /*verdict*/, SessionResult& /*record*/) {}
  // Why it doesn't recommend to allow, in the endpoint's language.
  virtual std::vector<std::string> reasons() const { return {}; }
  // Its part of the RESULT batch.
  virtual void say_last() {}

 protected:
  // The assessment as this IMV's last words, instead of what it wanted to ask in the same batch.
  void say_assessment(pipeline::Evaluation evaluation);
  Conversation& c_;

 private:
  const std::uint16_t id_;
  Channel channel_;
};

// Known attributes of all subtypes: an unknown one is skipped or refused as its flag says.
bool supported(std::uint32_t vendor, std::uint32_t type);
// What may come in segments where an IMV has no rule of its own: what is known, up to 16 MiB, as a whole.
patnc::Reassembler::Admission admit_supported(std::uint32_t vendor, std::uint32_t type);

}  // namespace gatehouse::server
