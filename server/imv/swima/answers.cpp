// What comes from SWIMA collectors: answers whole or in segments, and errors.
#include <algorithm>
#include <chrono>

#include "base/hex.h"
#include "server/imv/swima/swima_imv.h"
#include "server/imv/values.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {
namespace {

namespace type = patnc::type;
constexpr std::uint32_t ietf = patnc::vendor_ietf;
constexpr std::size_t max_inventory_bytes = std::size_t(64) << 20, max_events_bytes = std::size_t(16) << 20;
constexpr std::size_t max_description = 1024;

bool is_answer(std::uint32_t kind) {
  return kind >= type::software_identifier_inventory && kind <= type::software_events;
}
bool has_events(std::uint32_t kind) {
  return kind == type::software_identifier_events || kind == type::software_events;
}
swima::Content content_of(std::uint32_t kind) {
  return kind == type::software_inventory || kind == type::software_events ? swima::Content::records
                                                                           : swima::Content::identifiers;
}
// As strongSwan's server calls them.
std::string_view answer_name(bool events, swima::Content content) {
  if (content == swima::Content::identifiers) return events ? "software ID events" : "software ID inventory";
  return events ? "software events" : "software inventory";
}

// Without acting on it: nothing of a message counts when any of it is malformed.
Result<void> verify(const patnc::Attribute& a) {
  if (a.vendor != ietf || !is_answer(a.type)) return verify_value(a);
  Reader r(a.value, "RFC 8412", a.value_offset());
  if (has_events(a.type))
    GH_CHECK(patnc::parse_records(r, swima::EventsFormat{.content = content_of(a.type)}, [](const auto&) {}));
  else
    GH_CHECK(patnc::parse_records(r, swima::InventoryFormat{.content = content_of(a.type)}, [](const auto&) {}));
  return {};
}

// Milliseconds since 1970 of a time that the parser accepted. Unknown and earlier times are 0.
std::int64_t milliseconds(std::string_view time) {
  const auto number = [&](std::size_t at, std::size_t digits) {
    int n = 0;
    for (const char c : time.substr(at, digits)) n = n * 10 + (c - '0');
    return n;
  };
  if (number(0, 4) < 1970) return 0;
  using namespace std::chrono;
  const sys_days day{year(number(0, 4)) / month(unsigned(number(5, 2))) / std::chrono::day(unsigned(number(8, 2)))};
  const seconds of_day = hours(number(11, 2)) + minutes(number(14, 2)) + seconds(number(17, 2));
  return duration_cast<std::chrono::milliseconds>(day.time_since_epoch() + of_day).count();
}

SoftwareRecord stored(const swima::SoftwareRecord& r) {
  return {.source = r.source,
          .software_id = std::string(r.identifier),
          .record_id = r.record_id,
          .locator = std::string(r.locator)};
}

std::string described(std::uint32_t code, const swima::ErrorInformation& error) {
  std::string out =
      error.description.empty() ? patnc::error_name(ietf, code) : escaped(error.description, max_description);
  if (code == swima::error::response_too_large) out += " (at most " + std::to_string(error.maximum_size) + " bytes)";
  return out;
}

std::string hex32(std::uint32_t v) {
  Writer w;
  w.put(v);
  return "0x" + to_hex(w.view());
}

}  // namespace

void SwimaImv::receive(const Message& message) {
  for (const patnc::Attribute& a : message.attributes)
    if (const auto good = verify(a); !good) {
      log(LogLevel::warning, "SWIMA message: " + good.error().text());
      channel().refuse(message, {patnc::ErrorCode::invalid_parameter, good.error().offset, {}, good.error().reason});
      return fail("malformed " + patnc::attribute_name(a.vendor, a.type) + ": " + std::string(good.error().reason));
    }
  std::array<const patnc::Attribute*, 4> first{};
  std::vector<const patnc::Attribute*> answers;
  for (const patnc::Attribute& a : message.attributes) {
    if (a.vendor != ietf || !is_answer(a.type)) continue;
    const patnc::Attribute*& same = first[a.type - type::software_identifier_inventory];
    if (same == nullptr) {
      same = &a;
      answers.push_back(&a);
    } else if (!equal(same->value, a.value)) {
      return fail(patnc::attribute_name(a.vendor, a.type) + " twice in a message, differently");
    }
  }
  for (const patnc::Attribute& a : message.attributes)
    if (a.is(ietf, type::pa_tnc_error)) on_error(message, a);
  for (const patnc::Attribute* a : answers) {
    if (has_events(a->type))
      take_whole(message.collector, *a, swima::EventsFormat{.content = content_of(a->type)});
    else
      take_whole(message.collector, *a, swima::InventoryFormat{.content = content_of(a->type)});
  }
  for (const patnc::Attribute& a : message.attributes) {
    if (a.vendor != ietf || is_answer(a.type) || a.type == type::pa_tnc_error) continue;
    // Nothing of it is needed, but an operator who asks why should see that it can't be read.
    Reader r(a.value, "RFC 8412", a.value_offset());
    Result<void> good{};
    if (a.type == type::subscription_status_response)
      if (const auto v = swima::parse_subscription_status(r); !v) good = gatehouse::fail(v.error());
    if (a.type == type::source_metadata_response)
      if (const auto v = swima::parse_source_metadata(r); !v) good = gatehouse::fail(v.error());
    if (!good) log(LogLevel::warning, patnc::attribute_name(a.vendor, a.type) + ": " + good.error().text());
    ignore(patnc::attribute_name(a.vendor, a.type));
  }
}

template <class Format>
Result<void> SwimaImv::drain(std::uint16_t collector, std::uint32_t kind, patnc::Cursor<Format>& cursor, bool& begun) {
  const std::uint64_t before = cursor.received();
  for (;;) {
    GH_TRY(const auto* record, cursor.next());
    if (const auto* h = cursor.header(); h != nullptr && !begun) {
      begun = true;
      Answer answer;
      answer.events = has_events(kind);
      answer.content = content_of(kind);
      answer.count = h->count;
      answer.request_id = h->request_id;
      answer.epoch = h->eid_epoch;
      answer.last_eid = answer.last_consulted = h->last_eid;
      if constexpr (requires { h->last_consulted_eid; }) answer.last_consulted = h->last_consulted_eid;
      if (!begin(collector, answer)) return gatehouse::fail(Fault::denied, "an answer that wasn't asked for");
    }
    if (record == nullptr) break;
    take(*record);
  }
  if (begun) log_received(*s_.answer, cursor.received() - before, cursor.to_follow());
  return {};
}

template <class Format>
void SwimaImv::take_whole(std::uint16_t collector, const patnc::Attribute& a, Format format) {
  patnc::Cursor<Format> cursor(a.value_offset(), format);
  cursor.feed(a.value);
  bool begun = false;
  if (drain(collector, a.type, cursor, begun)) complete();
}

Result<void> SwimaImv::receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) {
  const auto unwanted = [&] {
    ignore("segments");
    return gatehouse::fail(Fault::denied, "segments of what isn't asked for");
  };
  if (!transfer_ || transfer_->collector != collector || transfer_->id != piece.id) {
    if (piece.at != 0 || transfer_ || s_.finished || result() || !s_.trouble.empty()) return unwanted();
    const std::size_t most = has_events(piece.type) ? max_events_bytes : max_inventory_bytes;
    if (patnc::attribute_header_size + piece.value_size > most) {
      Writer information, error;
      swima::append_error_information(information, swima::error::response_too_large,
                                      {s_.asked ? s_.asked->id : 0, std::uint32_t(most), "attribute too large"});
      patnc::append_error(error, {ietf, swima::error::response_too_large, information.view()});
      if (c_.take_error()) (void)channel().add(0, ietf, type::pa_tnc_error, error.view(), collector);
      return gatehouse::fail(Fault::limit, "attribute too large", "spec part 1b 3.8");
    }
    transfer_ = std::make_unique<Transfer>(Transfer{collector, piece.id, piece.type, swima::InventoryCursor(0), false});
    constexpr std::size_t offset = patnc::attribute_header_size;
    if (has_events(piece.type))
      transfer_->cursor.emplace<swima::EventsCursor>(offset, swima::EventsFormat{.content = content_of(piece.type)});
    else
      transfer_->cursor.emplace<swima::InventoryCursor>(offset,
                                                        swima::InventoryFormat{.content = content_of(piece.type)});
  }
  Transfer& t = *transfer_;
  auto good = std::visit(
      [&](auto& cursor) -> Result<void> {
        cursor.feed(piece.bytes);
        GH_CHECK(drain(collector, t.type, cursor, t.begun));
        if (piece.last) GH_CHECK(cursor.end());
        return {};
      },
      t.cursor);
  if (good && !piece.last) return {};
  transfer_.reset();
  if (good) {
    complete();
    return {};
  }
  // In a whole attribute a limit of ours is answered like any other malformation.
  if (good.error().fault != Fault::denied) good.error().fault = Fault::malformed;
  return good;
}

// In strongSwan's words: operators have alerts on them.
void SwimaImv::log_received(const Answer& a, std::uint64_t items, std::uint64_t to_follow) {
  const auto counted = [](std::uint64_t n) { return std::to_string(n) + (n == 1 ? " item" : " items"); };
  log(LogLevel::info, "received " + std::string(answer_name(a.events, a.content)) + " with " + counted(items) +
                          " for request " + std::to_string(a.request_id) + " at last eid " +
                          std::to_string(a.last_consulted) + " of epoch " + hex32(a.epoch) + ", " + counted(to_follow) +
                          " to follow");
}

// Whether an answer is one that we wait for.
bool SwimaImv::begin(std::uint16_t collector, Answer answer) {
  if (s_.finished || result() || !s_.trouble.empty()) {
    ignore("an answer after the end");
    return false;
  }
  const bool its_collector = s_.collector == pbtnc::any || s_.collector == collector;
  if (!s_.answer && its_collector && s_.asked && answer.request_id == s_.asked->id) {
    answer.earliest_eid = s_.asked->earliest_eid;
    answer.tags = s_.asked->tags;
  } else if (!s_.answer && !s_.requested && subscription_ && answer.request_id == subscription_->id &&
             (subscription_->collector == pbtnc::any || subscription_->collector == collector)) {
    answer.fulfilment = true;
  } else {
    ignore("an answer to request " + std::to_string(answer.request_id));
    return false;
  }
  answer.collector = s_.collector = collector;
  if (subscription_ && subscription_->id == answer.request_id) subscription_->collector = collector;
  if (answer.tags) {
    s_.answer = answer;
    return true;
  }
  if (answer.events) {
    if (s_.events_epoch && *s_.events_epoch != answer.epoch) {
      s_.staging.restart_events();  // what was staged belongs to a log that is gone
      s_.events = 0;
    }
    s_.events_epoch = answer.epoch;
  } else {
    if (s_.staging.installed() != 0) s_.staging.restart_installed();
    s_.records = 0;
  }
  s_.with_tags = s_.with_tags || answer.content == swima::Content::records;
  s_.answer = answer;
  return true;
}

void SwimaImv::take(const swima::SoftwareRecord& record) {
  if (s_.answer->tags) return take_tag(record);
  ++s_.records;
  s_.staging.add(stored(record));
  keep_tag(record);
}

void SwimaImv::take(const swima::Event& event) {
  const Answer& a = *s_.answer;
  if (a.tags) return;  // events were not asked for
  ++s_.events;
  const bool told_before = s_.head && event.eid != 0 && event.eid <= s_.head->last_eid && a.epoch == s_.head->epoch;
  // Numbers of another epoch have nothing to do with what was asked for.
  const bool other_epoch = s_.head && a.epoch != s_.head->epoch;
  const bool in_range = event.eid != 0 && (other_epoch || event.eid >= a.earliest_eid) && event.eid <= a.last_consulted;
  if (!in_range) {
    add_finding(pipeline::Status::failed, "event out of range: EID " + std::to_string(event.eid),
                event.software.identifier);
    // The store compares what it was told of before.
    if (!told_before || event.eid > a.last_consulted) return;
  }
  s_.staging.add(SoftwareEvent{.eid = event.eid,
                               .time = milliseconds(event.timestamp),
                               .action = SoftwareAction(event.action),
                               .record = stored(event.software)});
  keep_tag(event.software);
}

void SwimaImv::take_tag(const swima::SoftwareRecord& record) {
  if (!s_.tag_requests.answered(record.identifier)) return ignore("a tag");
  if (record.record.empty()) return;
  keep_tag(record);
}

// A tag of another software is no tag of this one, and none is kept that can't be read.
void SwimaImv::keep_tag(const swima::SoftwareRecord& record) {
  if (record.record.empty()) return;
  ++s_.tags;
  if (const auto good = verify_tag(record); !good) {
    const bool others = good.error().fault == Fault::denied;
    const std::string reason(good.error().reason);
    return add_finding(pipeline::Status::failed, others ? reason : "tag can't be read: " + reason, record.identifier);
  }
  s_.staging.add(SoftwareTag{.software_id = std::string(record.identifier),
                             .source = record.source,
                             .data_model = (record.model_vendor << 8) | record.model_type,
                             .content = to_vector(record.record)});
}

void SwimaImv::complete() {
  if (!s_.answer) return;
  s_.answer->complete = true;
  s_.refused.reset();
  s_.staging.close();
}

void SwimaImv::ignore(std::string_view what) {
  ++s_.ignored;
  log(LogLevel::debug, "ignored " + std::string(what) + " from a SWIMA collector");
}

void SwimaImv::on_error(const Message& message, const patnc::Attribute& a) {
  Reader r(a.value, "RFC 5792", a.value_offset());
  const auto error = patnc::parse_error(r);
  if (!error) return log(LogLevel::warning, "a PA-TNC error that can't be read: " + error.error().text());
  const std::string what = "received PA-TNC error '" + patnc::error_name(error->vendor, error->code) + "'";
  if (error->vendor == ietf && error->code >= swima::error::general &&
      error->code <= swima::error::subscription_id_reuse) {
    Reader information(error->information, "RFC 8412");
    const auto v = swima::parse_error_information(error->code, information);
    if (!v) return log(LogLevel::warning, what + " that can't be read");
    log(LogLevel::warning, what + " for request " + std::to_string(v->id));
    const std::string description = error->code == swima::error::subscription_fulfillment
                                        ? to_hex(as_bytes(v->description.substr(0, 64)))
                                        : escaped(v->description, max_description);
    log(LogLevel::warning, "description: " + description);
    if (s_.collector == pbtnc::any || s_.collector == message.collector) on_swima_error(error->code, *v);
    return;
  }
  log(LogLevel::warning, what);
  if (error->vendor != ietf || error->code == 0 || error->code > std::uint32_t(patnc::ErrorCode::type_not_supported))
    return;
  const auto information = patnc::error_information(*error);
  if (const auto* unknown = std::get_if<patnc::TypeNotSupported>(&information);
      unknown != nullptr && unknown->vendor == patnc::vendor_tcg && unknown->type == type::contract_request)
    return;  // it goes without segmentation
  fail("the endpoint refused a message: " + patnc::error_name(error->vendor, error->code));
}

void SwimaImv::on_swima_error(std::uint32_t code, const swima::ErrorInformation& error) {
  const bool asked = s_.asked && error.id == s_.asked->id;
  const bool subscribed = subscription_ && error.id == subscription_->id;
  switch (code) {
    case swima::error::subscription_denied:
      if (!subscribed) return;
      subscription_.reset();
      return log(LogLevel::info, "SWIMA subscription " + std::to_string(error.id) + " cleared");
    case swima::error::subscription_fulfillment:
      if (subscribed) s_.unfulfilled = true;
      return;
    case swima::error::subscription_id_reuse: {
      constexpr unsigned most = 3;
      if (!asked) return;
      if (s_.rounds != 0 || s_.asked->tags || ++s_.retries > most) break;
      if (subscribed) subscription_.reset();
      s_.asked.reset();  // the next id may be free
      s_.requested = false;
      return;
    }
    default:
      break;
  }
  if (asked) s_.refused = described(code, error);
}

}  // namespace gatehouse::server
