// The SWIMA IMV: keeps what an endpoint says of its installed software (RFC 8412; spec part 1b §5). It asks for events
// after the last one that is stored of the device, or for an inventory where there is no complete one, and hands what
// comes to the state store as it comes. All of it is the endpoint's claim.
//
//   ask ──▶ answer ──┬─ events, complete ───────────────────────────┬─▶ [T: tags, 500 at a time] ──▶ done
//    ▲               ├─ events, partial ─ ask from where they end ──┤
//    │               ├─ events of another epoch, or rolled back:    │
//    └───────────────┘  kept, and an inventory asked for            │
//                    └─ inventory, also where events were asked ────┘
//
// Where the policy has rules for the software, an inventory is judged while it comes, and events by what is stored with
// them; where that isn't known, or the last inventory is older than the rules want it, an inventory is asked for.
//
// With a subscription, a later assessment on the connection begins with the answer: the endpoint's fulfilment.
#pragma once

#include <array>
#include <variant>

#include "server/imv/imv.h"
#include "server/imv/swima/installed.h"
#include "server/imv/swima/staging.h"
#include "server/imv/swima/tags.h"
#include "server/judge/software.h"
#include "wire/swima/swima.h"

namespace gatehouse::server {

class SwimaImv final : public Imv {
 public:
  SwimaImv(std::uint16_t id, Conversation& conversation);

  std::string_view label() const override { return "SWIMA"; }
  void receive(const Message& message) override;
  Result<void> receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) override;
  void malformed(std::string_view why) override { fail(std::string(why)); }
  bool waiting() const override { return in_flight_; }
  void staged(const Result<void>& on_disk) override;
  Contribution contribution() const override;
  evidence::Part kept_part() const override;
  void contribute(SessionResult& record) override;
  std::vector<std::string> reasons() const override;

 private:
  policy::Validator validator() const override { return policy::Validator::swima; }
  void restart() override;
  std::unique_ptr<const Lasting::Own> own() const override;
  void resume_own(const Lasting::Own& before) override;
  void work() override;
  bool idle() const override { return s_.finished || open_items().empty(); }
  void give_up() override;
  void concluding() override;

  // What the header of an answer says.
  struct Answer {
    std::uint16_t collector = pbtnc::any;
    bool events = false;
    swima::Content content = swima::Content::identifiers;
    std::uint32_t count = 0, request_id = 0, epoch = 0, last_eid = 0, last_consulted = 0;
    // Of what it answers; a fulfilment answers no request.
    bool fulfilment = false, tags = false, complete = false;
    std::uint32_t earliest_eid = 0;
  };
  struct Asked {
    std::uint32_t id = 0, earliest_eid = 0;
    bool tags = false;
  };
  struct Subscription {
    std::uint32_t id = 0;
    std::uint16_t collector = pbtnc::any;  // that serves it, once it is known
  };
  // An answer that comes in segments.
  struct Transfer {
    std::uint16_t collector = pbtnc::any;
    std::uint32_t id = 0, type = 0;
    std::variant<swima::InventoryCursor, swima::EventsCursor> cursor;
    bool begun = false;  // its header has come
  };

  // What came of SWIDT.
  struct Answered {
    pipeline::Evaluation evaluation;
    std::string text;
  };

  // --- receiving (answers.cpp)
  bool begin(std::uint16_t collector, Answer answer);
  void take(const swima::SoftwareRecord& record);
  void take(const swima::Event& event);
  void take_tag(const swima::SoftwareRecord& record);
  void keep_tag(const swima::SoftwareRecord& record);
  void complete();
  template <class Format>
  Result<void> drain(std::uint16_t collector, std::uint32_t type, patnc::Cursor<Format>& cursor, bool& begun);
  template <class Format>
  void take_whole(std::uint16_t collector, const patnc::Attribute& attribute, Format format);
  void log_received(const Answer& answer, std::uint64_t items, std::uint64_t to_follow);
  void on_error(const Message& message, const patnc::Attribute& attribute);
  void on_swima_error(std::uint32_t code, const swima::ErrorInformation& error);
  void ignore(std::string_view what);

  // --- deciding (swima_imv.cpp)
  void take_up();
  void proceed();
  void decide(const Answer& answer);
  bool another_log(const Answer& answer);
  void decide_inventory(const Answer& answer);
  void decide_events(const Answer& answer);
  void settle();
  void gather_tag_requests();
  void ask_first();
  void ask(std::uint32_t earliest_eid);
  void send_request(swima::Request request, bool tags);
  void hand_over();
  void filter_tags(SoftwareChunk& chunk);
  void look_for_missing_tags(const SoftwareChunk& chunk);
  void fail(std::string why);
  void finish(pipeline::Evaluation evaluation, std::string text);
  std::string summary() const;
  void add_finding(pipeline::Status status, std::string reason, std::string_view software = {});

  // --- judging by rules (judging.cpp)
  bool wants_list() const { return s_.check.has_value() || c_.capture != nullptr; }
  void begin_judging();
  void judge(const SoftwareChunk& chunk);
  bool judge_stored();
  bool too_old() const;
  void judge_rules(Answered& base);
  std::vector<Remedy> remedies() const;
  Contribution own_contribution() const;
  void log(LogLevel level, std::string text) { c_.host.log(level, std::move(text)); }

  // For the life of the connection.
  struct Requests : Lasting::Own {
    std::uint32_t next = 1;
    std::optional<Subscription> subscription;
  };
  std::uint32_t next_request_;
  std::optional<Subscription> subscription_;
  bool in_flight_ = false;  // a chunk is on its way to the store
  bool stale_ = false;      // it belongs to the assessment before

  struct Assessment {
    const policy::WorkItem* item = nullptr;  // SWIDT, while it is worked on
    bool finished = false;
    std::string trouble;  // went wrong before the item was known
    bool keeps = false;   // the device is enrolled: the store keeps what it says
    std::optional<SoftwareHead> head;
    std::uint16_t collector = pbtnc::any;  // that answers
    bool requested = false, inventory_asked = false;
    bool another_log = false;  // than the stored one: said so
    std::optional<Asked> asked;
    std::optional<Answer> answer;
    std::optional<std::string> refused;  // the endpoint's SWIMA error for what was asked
    bool unfulfilled = false;            // its error for the subscription
    bool settling = false;               // inventory or events are complete
    SoftwareStaging staging;
    std::optional<SoftwareUpdate> update;
    std::optional<std::uint32_t> events_epoch;  // of the events that are staged
    unsigned rounds = 0, retries = 0;
    std::optional<swima::Content> inventory;  // came last
    bool with_tags = false;                   // an answer came with the tags
    bool tags_gathered = false;
    TagRequests tag_requests;
    std::uint64_t records = 0, events = 0, tags = 0, tags_without_room = 0, ignored = 0;
    std::size_t tag_bytes = 0;  // staged
    std::vector<pipeline::Finding> findings;
    std::uint64_t findings_total = 0;
    std::string summary;
    // Of the policy's rules.
    std::optional<SoftwareCheck> check;  // null: there are none
    Changes changes;                     // by the events that came
    bool listing = false;                // an inventory is being judged
    SoftwareFacts facts;
    std::optional<Answered> base;  // without the rules
    SoftwareAnswer judged;
  } s_;
  std::unique_ptr<Transfer> transfer_;  // null: none is on its way
};

}  // namespace gatehouse::server
