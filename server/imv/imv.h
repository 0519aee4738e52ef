// An Integrity Measurement Verifier (IMV): judges one kind of what an endpoint reports. A new one is a class in a folder
// of its own and a line in server/session/imvs.cpp.
//
// The session delivers PA-TNC messages by type (spec part 1b §6.3), then tells every IMV in order of the list that the
// batch is at its end; there an IMV decides what to ask next. When all have a result, the session makes the verdict of
// them. An IMV that has a result keeps it; what comes later can only speak against it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/imv/channel.h"
#include "server/imv/remedy.h"
#include "server/evidence/kept.h"
#include "server/policy/combine.h"

namespace gatehouse::server {

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
  void begin_assessment();
  void batch_end();
  // The endpoint has nothing more to say: what was demanded and didn't come is never allow.
  void solicit();
  // The conversation ended before the verdict.
  void abandon(std::string_view why);
  const std::optional<policy::ValidatorResult>& result() const { return result_; }

  // The store or the evidence plane is at work: no answer yet. What comes back is for the one that asked, who takes it.
  virtual bool waiting() const { return false; }
  virtual void session_begun(const Result<void>& /*on_disk*/) {}
  virtual void staged(const Result<void>& /*on_disk*/) {}
  virtual void activated(const Result<void>& /*on_disk*/) {}
  virtual void status(CertificateOf /*whose*/, const Result<void>& /*of the certificate*/) {}
  virtual void outcome(Result<pipeline::Outcome>& /*outcome*/) {}
  virtual std::size_t pending_bytes() const { return 0; }  // of evidence that isn't judged yet

  // The verdict object, of the one IMV whose evidence makes it. Its findings may be taken away.
  virtual pipeline::Verdict* verdict() { return nullptr; }
  // When all have a result: what this one adds to the verdict, and to the session's record.
  virtual Contribution contribution() const { return {}; }
  virtual void contribute(SessionResult& /*record*/) {}
  ValidatorPart part() const { return {*result_, items_, contribution()}; }
  // What that was made of, to be judged again.
  virtual evidence::Part kept_part() const;
  const std::vector<pipeline::ItemResult>& items() const { return items_; }
  // The same under the keys that a later session's policy asks for.
  const std::vector<ItemResult>& kept_items() const { return kept_items_; }
  // Why it doesn't recommend to allow, in the endpoint's language.
  virtual std::vector<std::string> reasons() const { return {}; }
  // Its part of the RESULT batch.
  virtual void say_last() {}

  // The RESULT batch is out and the connection is kept: until there is another assessment, nobody needs the IMV. What
  // lasts as long as the connection, for the new one that takes its place then.
  struct Lasting {
    struct Own {  // of the one class
      virtual ~Own() = default;
    };
    Channel::Agreed channel;
    std::unique_ptr<const Own> own;
  };
  // nullopt: it has to stay, since something of it is on its way.
  std::optional<Lasting> lasting() const;
  void resume(const Lasting& before);

 protected:
  virtual policy::Validator validator() const = 0;
  virtual void restart() = 0;
  virtual std::unique_ptr<const Lasting::Own> own() const { return nullptr; }
  // What own() gave, where it gave something.
  virtual void resume_own(const Lasting::Own& /*before*/) {}
  // The batch is at its end and this IMV has no result: ask, or finish items. Before the endpoint is identified there are
  // none; after, an IMV without any is concluded unless it says that it isn't done.
  virtual void work() = 0;
  virtual bool idle() const { return true; }
  // What still misses its answer is finished as the IMV sees fit; what it leaves open is "no answer".
  virtual void give_up() {}
  // Before the result stands: what depends on all items being finished.
  virtual void concluding() {}

  // Takes up the IMV's items as soon as the endpoint is identified; called around work().
  void claim();
  // It has an opinion though no item asks for it.
  void claim_opinion() { had_work_ = opinionated_ = true; }
  // The IMV's work, by id, once the endpoint is identified.
  const std::vector<const policy::WorkItem*>& open_items() const { return open_; }
  const policy::WorkItem* open_item(policy::Type type) const;
  // With its result: a sentence for operators, as strongSwan words it.
  void finish_item(const policy::WorkItem& item, pipeline::Evaluation evaluation, std::string text);
  // Besides the items: something that must count, though the result stands already.
  void add_assessment(policy::Assessment more);
  // With a result: the endpoint contradicted what its items were judged by.
  void doubt(const std::string& why);
  void conclude();
  pipeline::Evaluation evaluation() const { return assessment_.evaluation; }
  // The assessment as this IMV's last words, instead of what it wanted to ask in the same batch.
  void say_assessment(pipeline::Evaluation evaluation, std::uint16_t collector = pbtnc::any);
  // Behind it, unless all is compliant: what is to be mended, and the policy's remediation URI when there is something
  // or the endpoint isn't allowed (spec part 1b §4.6).
  void say_remedies(std::span<const Remedy> remedies, RemedyForm form = RemedyForm::plain);
  Conversation& c_;

 private:
  void count(policy::Assessment more);

  const std::uint16_t id_;
  Channel channel_;
  bool claimed_ = false, had_work_ = false;
  bool opinionated_ = false;     // claim_opinion()
  policy::Assessment opinion_;   // the part of assessment_ that isn't of items as they stand
  std::vector<const policy::WorkItem*> open_;
  policy::Assessment assessment_;
  std::vector<pipeline::ItemResult> items_;
  std::vector<ItemResult> kept_items_;
  std::optional<policy::ValidatorResult> result_;
};

// Known attributes of all subtypes: an unknown one is skipped or refused as its flag says.
bool supported(std::uint32_t vendor, std::uint32_t type);
// The same, and the attributes of the raw-evidence extension where it is on.
patnc::Supported supported_with(const Settings& settings);
// What may come in segments where an IMV has no rule of its own: what is known, up to 16 MiB, as a whole.
patnc::Reassembler::Admission admit_supported(std::uint32_t vendor, std::uint32_t type);

}  // namespace gatehouse::server
