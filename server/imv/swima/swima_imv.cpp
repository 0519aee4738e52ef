#include "server/imv/swima/swima_imv.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

namespace type = patnc::type;
constexpr unsigned max_rounds = 64;  // of one list of events
constexpr std::size_t max_own_findings = 32;
// Events and tags share what a session may stage: tags beyond this wait for another session.
constexpr std::size_t max_tag_bytes_staged = std::size_t(8) << 20;
constexpr unsigned max_pages = 2;  // read to find software without a tag
constexpr std::string_view nothing_came = "no software inventory received";

patnc::Reassembler::Admission admit(std::uint32_t vendor, std::uint32_t kind) {
  const bool answer =
      vendor == patnc::vendor_ietf && kind >= type::software_identifier_inventory && kind <= type::software_events;
  // How large it may be is for the IMV to judge: it answers in its own way.
  if (answer) return {true, SIZE_MAX, true};
  return admit_supported(vendor, kind);
}

std::string counted(std::uint64_t n, std::string_view what) {
  return std::to_string(n) + " " + std::string(what) + (n == 1 ? "" : "s");
}

}  // namespace

SwimaImv::SwimaImv(std::uint16_t id, Conversation& conversation)
    : Imv(id, conversation, patnc::vendor_ietf, patnc::subtype_swima, admit),
      next_request_(conversation.host.fixed_request_id().value_or(1)) {}

void SwimaImv::restart() {
  stale_ = in_flight_;
  s_ = {};
  transfer_.reset();
}

std::unique_ptr<const Imv::Lasting::Own> SwimaImv::own() const {
  auto out = std::make_unique<Requests>();
  out->next = next_request_;
  out->subscription = subscription_;
  return out;
}

void SwimaImv::resume_own(const Lasting::Own& before) {
  const auto& requests = static_cast<const Requests&>(before);
  next_request_ = requests.next;
  subscription_ = requests.subscription;
}

void SwimaImv::work() {
  if (s_.finished) return;
  if (s_.item == nullptr) take_up();
  proceed();
}

// The endpoint is identified and the policy wants to know its software.
void SwimaImv::take_up() {
  s_.item = open_item(policy::Type::swidt);
  if (s_.item == nullptr) return;
  log(LogLevel::info, "IMV " + std::to_string(id()) + " handles SWIDT workitem " + std::to_string(s_.item->id));
  if (!s_.trouble.empty()) {
    begin_judging();
    return finish(pipeline::Evaluation::error, s_.trouble);
  }
  s_.keeps = c_.info.device_id && c_.device() && c_.device()->enrolled;
  if (!s_.keeps) log(LogLevel::info, "the device isn't enrolled: what it says of its software isn't kept");
  if (s_.keeps) {
    auto head = c_.state.software_head(*c_.info.device_id);
    if (!head) return fail("the state store can't be read: " + head.error().text());
    s_.head = *std::move(head);
  }
  begin_judging();
  if (s_.item->has('C') && subscription_) {
    log(LogLevel::info, "SWIMA subscription " + std::to_string(subscription_->id) + " cleared");
    subscription_.reset();
    if (s_.answer) {  // its fulfilment
      s_.answer.reset();
      s_.staging.clear();
      s_.events_epoch.reset();
      s_.records = s_.events = s_.tags = 0;
      transfer_.reset();
    }
  }
}

// Goes on as far as is possible without an answer of the endpoint or of the store.
void SwimaImv::proceed() {
  while (s_.item != nullptr) {
    hand_over();
    if (in_flight_) return;
    if (s_.answer) {
      if (!s_.answer->complete) return;
      const Answer answer = *s_.answer;
      s_.answer.reset();
      s_.asked.reset();
      decide(answer);
    } else if (s_.settling) {
      settle();
    } else if (s_.refused) {
      return finish(pipeline::Evaluation::error, *s_.refused);
    } else {
      if (!s_.asked && (!subscription_ || s_.unfulfilled)) ask_first();
      return;
    }
  }
}

void SwimaImv::hand_over() {
  while (!in_flight_) {
    auto chunk = s_.staging.next();
    if (!chunk) return;
    judge(*chunk);
    if (!s_.keeps) continue;
    filter_tags(*chunk);
    look_for_missing_tags(*chunk);
    const bool restarts = chunk->restart_installed || chunk->restart_events;
    if (!restarts && chunk->installed.empty() && chunk->events.empty() && chunk->tags.empty()) continue;
    chunk->session = c_.session;
    chunk->device = *c_.info.device_id;
    in_flight_ = true;
    c_.host.stage_software(*std::move(chunk));
  }
}

// Tags that are stored already go no further; nor does what is more than a session may bring.
void SwimaImv::filter_tags(SoftwareChunk& chunk) {
  std::erase_if(chunk.tags, [&](const SoftwareTag& tag) {
    if (tag.content.empty()) return false;
    if (const auto known = c_.state.has_software_tag(tag.software_id, tag.content); known && *known) return true;
    if (tag.content.size() > max_tag_bytes_staged - s_.tag_bytes) {
      ++s_.tags_without_room;
      return true;
    }
    s_.tag_bytes += tag.content.size();
    return false;
  });
}

void SwimaImv::look_for_missing_tags(const SoftwareChunk& chunk) {
  if (!s_.item->has('T') || s_.with_tags || s_.tags_gathered) return;
  const auto look = [&](const SoftwareRecord& record) {
    if (s_.tag_requests.full()) return;
    if (const auto known = c_.state.has_software_tag(record.software_id); known && !*known)
      s_.tag_requests.want(record.source, record.software_id);
  };
  for (const SoftwareRecord& record : chunk.installed) look(record);
  for (const SoftwareEvent& event : chunk.events)
    if (event.action != SoftwareAction::deletion) look(event.record);
}

void SwimaImv::staged(const Result<void>& on_disk) {
  if (!in_flight_) return;
  in_flight_ = false;
  if (std::exchange(stale_, false)) return proceed();
  if (s_.finished || s_.item == nullptr) return;
  if (!on_disk && on_disk.error().fault == Fault::limit && s_.events_epoch && !s_.inventory_asked) {
    // More happened than can be kept: what is installed now is what counts.
    log(LogLevel::warning, "software events: " + on_disk.error().text() + "; asking for an inventory");
    s_.staging.clear();
    s_.staging.restart_events();
    s_.changes.clear();
    s_.events_epoch.reset();
    s_.events = s_.tags = 0;
    s_.update.reset();
    s_.answer.reset();
    s_.settling = false;
    transfer_.reset();
    ask(0);
  } else if (!on_disk) {
    return fail("the software can't be kept: " + on_disk.error().text());
  }
  proceed();
}

void SwimaImv::decide(const Answer& a) {
  if (a.tags) {
    for (auto& [source, identifier] : s_.tag_requests.end_request())
      s_.staging.add(SoftwareTag{.software_id = std::move(identifier), .source = source});  // it has none
    s_.staging.close();
    s_.settling = true;
  } else if (a.events) {
    decide_events(a);
  } else {
    decide_inventory(a);
  }
}

// Whether the events that are stored and what the endpoint counts from now on are two logs.
bool SwimaImv::another_log(const Answer& a) {
  if (!s_.head) return false;
  const SoftwareHead& head = *s_.head;
  const bool another_epoch = a.epoch != head.epoch, back = !another_epoch && a.last_eid < head.last_eid;
  if (!another_epoch && !back) return false;
  if (std::exchange(s_.another_log, true)) return true;
  if (another_epoch)
    add_finding(pipeline::Status::unknown,
                "the EID epoch changed from " + std::to_string(head.epoch) + " to " + std::to_string(a.epoch));
  else
    add_finding(pipeline::Status::failed, "the event log went back from EID " + std::to_string(head.last_eid) + " to " +
                                              std::to_string(a.last_eid));
  return true;
}

void SwimaImv::decide_inventory(const Answer& a) {
  s_.inventory = a.content;
  s_.facts = {.list = SoftwareFacts::List::whole, .why = {}, .inventory_time = c_.facts().now};
  if (!s_.listing && c_.capture) c_.capture->begin_software();  // it is empty
  (void)another_log(a);
  const bool events = s_.update && s_.update->events && s_.events_epoch == a.epoch;
  if (s_.update && s_.update->events && !events) s_.staging.restart_events();
  s_.staging.close();
  s_.update = SoftwareUpdate{.epoch = a.epoch, .last_eid = a.last_eid, .inventory = true, .events = events};
  s_.settling = true;
}

void SwimaImv::decide_events(const Answer& a) {
  ++s_.rounds;
  s_.update = SoftwareUpdate{.epoch = a.epoch, .last_eid = a.last_consulted, .events = true};
  const bool applies = s_.head && s_.head->complete && !another_log(a);
  // Events say nothing where it isn't known what they change.
  if (s_.keeps && !applies && !s_.inventory_asked) return ask(0);
  s_.facts.list = SoftwareFacts::List::incomplete;
  s_.facts.why = "events came, and no inventory to which they belong";
  if (a.earliest_eid == 0 && !a.fulfilment && s_.rounds == 1)
    add_finding(pipeline::Status::unknown, "the endpoint answered a request for its inventory with events");
  if (a.last_consulted < a.last_eid) {
    if (a.last_consulted < a.earliest_eid) return fail("the list of events doesn't go on");
    if (s_.rounds < max_rounds) return ask(a.last_consulted + 1);
    add_finding(pipeline::Status::unknown, "after " + counted(max_rounds, "request") +
                                               " the list of events ends at EID " + std::to_string(a.last_consulted) +
                                               " of " + std::to_string(a.last_eid));
    s_.facts.why = "the list of events isn't whole";
  } else if (wants_list()) {
    const bool judged = applies && judge_stored();
    // What is only kept for later isn't worth a list of its own.
    if (s_.check && !s_.inventory_asked && (!judged || too_old())) return ask(0);
  }
  s_.settling = true;
}

// Inventory or events are complete: tags are all that may be missing.
void SwimaImv::settle() {
  s_.settling = false;
  if (s_.item->has('T') && s_.keeps && s_.tag_bytes < max_tag_bytes_staged) {
    gather_tag_requests();
    const std::size_t room = patnc::max_message(c_.settings.max_batch) - 64;
    swima::Request request;
    request.targets = s_.tag_requests.begin_request(room);
    if (!request.targets.empty()) return send_request(std::move(request), true);
  }
  finish(pipeline::Evaluation::compliant, summary());
}

// What was installed before, and never told its tag.
void SwimaImv::gather_tag_requests() {
  if (std::exchange(s_.tags_gathered, true)) return;
  if (s_.update && s_.update->inventory) return;  // what is installed has just come
  SoftwareCursor from;
  for (unsigned pages = 0; pages < max_pages && !s_.tag_requests.full(); ++pages) {
    auto page = c_.state.software_without_tag(*c_.info.device_id, TagRequests::most_in_request, from);
    if (!page) return log(LogLevel::error, "the state store can't be read: " + page.error().text());
    for (const InstalledSoftware& one : page->software) s_.tag_requests.want(one.record.source, one.record.software_id);
    from = std::move(page->next);
    if (from.empty()) return;
  }
}

void SwimaImv::ask_first() {
  s_.unfulfilled = false;
  const bool delta =
      s_.item->has('R') && s_.head && s_.head->complete && s_.head->last_eid != UINT32_MAX && !too_old();
  ask(delta ? s_.head->last_eid + 1 : 0);
}

void SwimaImv::ask(std::uint32_t earliest_eid) {
  if (earliest_eid == 0) s_.inventory_asked = true;
  swima::Request request;
  request.identifiers_only = s_.item->has('R');
  request.earliest_eid = earliest_eid;
  send_request(std::move(request), false);
}

void SwimaImv::send_request(swima::Request request, bool tags) {
  do request.id = next_request_++;
  while (request.id == 0 || (subscription_ && subscription_->id == request.id));
  if (!std::exchange(s_.requested, true)) {
    channel().request_contract();
    request.clear_subscriptions = s_.item->has('C');
    request.subscribe = s_.item->has('S') && !subscription_;
    if (request.subscribe) subscription_ = Subscription{request.id};
  }
  s_.asked = Asked{request.id, request.earliest_eid, tags};
  Writer value;
  swima::append_request(value, request);
  log(LogLevel::info, "IMV " + std::to_string(id()) + " issues SWIMA request " + std::to_string(request.id) +
                          (tags ? " for " + counted(request.targets.size(), "tag")
                                : " with earliest EID " + std::to_string(request.earliest_eid)));
  if (!channel().add(0, patnc::vendor_ietf, type::swima_request, value.view(), s_.collector))
    fail("the SWIMA Request is larger than a message");
}

// The endpoint has nothing more to say.
void SwimaImv::give_up() {
  if (s_.item == nullptr || in_flight_) return;
  if (!s_.asked && subscription_) {
    log(LogLevel::info, "nothing came of SWIMA subscription " + std::to_string(subscription_->id));
    subscription_.reset();
    return ask_first();
  }
  if (s_.asked && s_.asked->tags) {
    add_finding(pipeline::Status::unknown, "the tags that were asked for didn't come");
    return finish(pipeline::Evaluation::compliant, summary());
  }
  finish(pipeline::Evaluation::unknown, std::string(nothing_came));
}

void SwimaImv::fail(std::string why) {
  if (s_.finished || result()) return;
  log(LogLevel::warning, "software inventory failed: " + escaped(why));
  s_.update.reset();
  if (s_.item != nullptr) return finish(pipeline::Evaluation::error, std::move(why));
  if (s_.trouble.empty()) s_.trouble = std::move(why);
  s_.answer.reset();
  s_.staging.clear();
  transfer_.reset();
}

void SwimaImv::finish(pipeline::Evaluation evaluation, std::string text) {
  s_.summary = text;
  Answered answer{evaluation, std::move(text)};
  judge_rules(answer);
  const policy::WorkItem& item = *std::exchange(s_.item, nullptr);
  s_.finished = true;
  if (s_.update) {
    s_.update->staged_installed = s_.staging.installed();
    s_.update->staged_events = s_.staging.events();
  }
  s_.asked.reset();
  s_.answer.reset();
  s_.staging.clear();
  transfer_.reset();
  s_.changes.clear();
  finish_item(item, answer.evaluation, std::move(answer.text));
  conclude();
}

void SwimaImv::concluding() {
  if (!s_.finished) return;
  Writer value;
  patnc::append_u32(value, std::uint32_t(evaluation()));
  (void)channel().add(0, patnc::vendor_ietf, type::assessment_result, value.view(), s_.collector);
  if (const std::vector<Remedy> all = remedies(); !all.empty()) say_remedies(all);
}

// As strongSwan's server words it.
std::string SwimaImv::summary() const {
  std::string out = "received " + counted(s_.tags, "SWID tag");
  if (!s_.inventory)
    out = "received " + counted(s_.events, "SW ID event") + " and " + counted(s_.tags, "SWID tag");
  else if (*s_.inventory == swima::Content::identifiers)
    out = "received inventory of " + counted(s_.records, "SW ID") + " and " + counted(s_.tags, "SWID tag");
  if (subscription_) out += " from subscription " + std::to_string(subscription_->id);
  return out;
}

void SwimaImv::add_finding(pipeline::Status status, std::string reason, std::string_view software) {
  ++s_.findings_total;
  if (s_.findings.size() >= max_own_findings) return;
  pipeline::Finding f;
  f.component = "software";
  f.status = status;
  f.path = software;
  f.reason = std::move(reason);
  s_.findings.push_back(std::move(f));
}

Contribution SwimaImv::contribution() const {
  Contribution out = own_contribution();
  out.first.insert(out.first.end(), s_.judged.findings.begin(), s_.judged.findings.end());
  out.findings_total += s_.judged.findings_total;
  return out;
}

Contribution SwimaImv::own_contribution() const {
  Contribution out;
  out.first = s_.findings;
  out.findings_total = s_.findings_total;
  if (s_.ignored != 0) out.warnings.push_back(counted(s_.ignored, "software attribute") + " ignored: nothing had asked for it");
  if (s_.tags_without_room != 0)
    out.warnings.push_back(counted(s_.tags_without_room, "SWID tag") + " not kept: more than a session may bring");
  if (s_.finished && s_.update) out.claims.push_back("software: " + s_.summary + "; no quote covers it");
  return out;
}

void SwimaImv::contribute(SessionResult& record) {
  if (s_.finished && s_.keeps) record.software = s_.update;
}

}  // namespace gatehouse::server
