#include "server/state/software_layout.h"

#include "server/state/codec.h"
#include "server/state/layout.h"

namespace gatehouse::server::layout {
namespace {

std::string joined(char kind, std::string_view text) { return std::string(1, kind).append(text); }
std::string numbered(char kind, std::string_view device, std::uint64_t number) {
  return joined(kind, device).append(1, '\0').append(number64(number));
}

void put_time(Writer& w, std::int64_t time) { w.put(std::uint64_t(time)); }
void put_bool(Writer& w, bool value) { w.put(std::uint8_t(value ? 1 : 0)); }

void put_installed(Writer& w, const InstalledValue& value) {
  put_time(w, value.first_seen);
  put_time(w, value.since);
  w.put(value.eid);
  put_bool(w, value.no_tag);
  put_text(w, value.locator);
}
Result<InstalledValue> get_installed(Reader& r) {
  InstalledValue out;
  GH_TRY(out.first_seen, get_time(r));
  GH_TRY(out.since, get_time(r));
  GH_TRY(out.eid, r.get<std::uint32_t>());
  GH_TRY(out.no_tag, get_bool(r));
  GH_TRY(out.locator, get_text(r));
  return out;
}

Result<SoftwareRecord> get_record(Reader& r) {
  SoftwareRecord out;
  GH_TRY(out.source, r.get<std::uint8_t>());
  const std::size_t size = as_text(r.rest()).find('\0');
  if (size == std::string_view::npos || size == 0) return r.fail("no software identifier");
  GH_TRY(const Bytes id, r.take(size));
  out.software_id = as_text(id);
  GH_CHECK(r.skip(1));
  GH_TRY(out.record_id, r.get<std::uint32_t>());
  return out;
}

Result<SoftwareAction> get_action(Reader& r) {
  GH_TRY(const auto action, r.get<std::uint8_t>());
  if (action < 1 || action > 3) return r.fail("unknown value");
  return SoftwareAction(action);
}

}  // namespace

std::string head_key(std::string_view device) { return joined('h', device); }
std::string inventory_time_key(std::string_view device) { return joined('u', device); }
std::string installed_prefix(std::string_view device, std::uint64_t generation) {
  return numbered('i', device, generation);
}
std::string ended_prefix(std::string_view device, std::uint64_t change) { return numbered('j', device, change); }
std::string change_prefix(std::string_view device) { return joined('c', device) + '\0'; }
std::string change_key(std::string_view device, std::uint64_t change) { return numbered('c', device, change); }
std::string event_prefix(std::string_view device, std::uint64_t era) { return numbered('e', device, era); }
std::string staging_key(std::string_view session) { return joined('w', session); }
std::string staged_event_prefix(std::uint64_t pieces) { return joined('W', number64(pieces)); }
std::string staged_tag_prefix(std::uint64_t pieces) { return joined('N', number64(pieces)); }
std::string tag_prefix(std::string_view software_id) { return joined('n', software_id) + '\0'; }
std::string item_result_prefix(std::string_view device) { return joined('Q', device) + '\0'; }
std::string item_result_key(std::string_view device, std::string_view policy) { return item_result_prefix(device).append(policy); }
std::string old_failing_key(std::string_view device, std::string_view policy) {
  return (joined(old_failing_letter, device) + '\0').append(policy);
}

std::string place_of(const SoftwareRecord& record) {
  return std::string(1, char(record.source))
      .append(record.software_id)
      .append(1, '\0')
      .append(number32(record.record_id));
}
std::string place_of(const SoftwareEvent& event) {
  return number32(event.eid).append(place_of(event.record)).append(1, char(event.action));
}
Result<SoftwareRecord> record_at(std::string_view place) {
  Reader r(as_bytes(place), document);
  GH_TRY(SoftwareRecord out, get_record(r));
  GH_CHECK(r.finish());
  return out;
}
Result<SoftwareEvent> event_at(std::string_view place) {
  Reader r(as_bytes(place), document);
  SoftwareEvent out;
  GH_TRY(out.eid, r.get<std::uint32_t>());
  GH_TRY(out.record, get_record(r));
  GH_TRY(out.action, get_action(r));
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const HeadValue& value) {
  Writer w;
  w.put(layout_version);
  w.put(value.head.epoch);
  w.put(value.head.last_eid);
  put_time(w, value.head.time);
  put_text(w, value.head.session);
  put_bool(w, value.head.complete);
  w.put(value.generation);
  w.put(value.head.installed);
  w.put(value.era);
  w.put(value.events_from);
  w.put(value.oldest_change);
  w.put(value.changes);
  w.put(value.head.events);
  w.put(value.ended);
  return taken(std::move(w));
}
Result<HeadValue> decode_head(std::string_view value) {
  Reader r(as_bytes(value), document);
  HeadValue out;
  GH_CHECK(get_version(r));
  GH_TRY(out.head.epoch, r.get<std::uint32_t>());
  GH_TRY(out.head.last_eid, r.get<std::uint32_t>());
  GH_TRY(out.head.time, get_time(r));
  GH_TRY(out.head.session, get_text(r));
  GH_TRY(out.head.complete, get_bool(r));
  GH_TRY(out.generation, r.get<std::uint64_t>());
  GH_TRY(out.head.installed, r.get<std::uint64_t>());
  GH_TRY(out.era, r.get<std::uint64_t>());
  GH_TRY(out.events_from, r.get<std::uint32_t>());
  GH_TRY(out.oldest_change, r.get<std::uint64_t>());
  GH_TRY(out.changes, r.get<std::uint64_t>());
  GH_TRY(out.head.events, r.get<std::uint64_t>());
  GH_TRY(out.ended, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const InstalledValue& value) {
  Writer w;
  w.put(layout_version);
  put_installed(w, value);
  return taken(std::move(w));
}
Result<InstalledValue> decode_installed(std::string_view value) {
  Reader r(as_bytes(value), document);
  GH_CHECK(get_version(r));
  GH_TRY(InstalledValue out, get_installed(r));
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const EndedValue& value) {
  Writer w;
  w.put(layout_version);
  put_installed(w, value.was);
  put_time(w, value.last_seen);
  put_time(w, value.until);
  return taken(std::move(w));
}
Result<EndedValue> decode_ended(std::string_view value) {
  Reader r(as_bytes(value), document);
  EndedValue out;
  GH_CHECK(get_version(r));
  GH_TRY(out.was, get_installed(r));
  GH_TRY(out.last_seen, get_time(r));
  GH_TRY(out.until, get_time(r));
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const EventValue& value) {
  Writer w;
  w.put(layout_version);
  put_time(w, value.time);
  put_text(w, value.locator);
  return taken(std::move(w));
}
Result<EventValue> decode_event(std::string_view value) {
  Reader r(as_bytes(value), document);
  EventValue out;
  GH_CHECK(get_version(r));
  GH_TRY(out.time, get_time(r));
  GH_TRY(out.locator, get_text(r));
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const ChangeValue& value) {
  Writer w;
  const SoftwareChange& change = value.change;
  w.put(layout_version);
  put_time(w, change.time);
  put_text(w, change.session);
  for (const bool one : {change.inventory, change.events, change.first, change.epoch_changed, change.rolled_back})
    put_bool(w, one);
  for (const std::uint32_t one : {change.epoch, change.last_eid, change.previous_epoch, change.previous_eid})
    w.put(one);
  for (const std::uint64_t one : {change.added, change.removed, change.altered, change.not_kept, change.inconsistent})
    w.put(one);
  w.put(value.era);
  w.put(value.first_eid);
  w.put(value.last_kept_eid);
  w.put(value.events);
  w.put(value.ended);
  w.put(std::uint16_t(change.examples.size()));
  for (const SoftwareEvent& one : change.examples) {
    put_text(w, place_of(one));
    put_time(w, one.time);
  }
  return taken(std::move(w));
}
Result<ChangeValue> decode_change(std::string_view value) {
  Reader r(as_bytes(value), document);
  ChangeValue out;
  SoftwareChange& change = out.change;
  GH_CHECK(get_version(r));
  GH_TRY(change.time, get_time(r));
  GH_TRY(change.session, get_text(r));
  for (bool* one : {&change.inventory, &change.events, &change.first, &change.epoch_changed, &change.rolled_back}) {
    GH_TRY(*one, get_bool(r));
  }
  for (std::uint32_t* one : {&change.epoch, &change.last_eid, &change.previous_epoch, &change.previous_eid}) {
    GH_TRY(*one, r.get<std::uint32_t>());
  }
  for (std::uint64_t* one : {&change.added, &change.removed, &change.altered, &change.not_kept, &change.inconsistent}) {
    GH_TRY(*one, r.get<std::uint64_t>());
  }
  GH_TRY(out.era, r.get<std::uint64_t>());
  GH_TRY(out.first_eid, r.get<std::uint32_t>());
  GH_TRY(out.last_kept_eid, r.get<std::uint32_t>());
  GH_TRY(out.events, r.get<std::uint64_t>());
  GH_TRY(out.ended, r.get<std::uint64_t>());
  GH_TRY(const auto examples, r.get<std::uint16_t>());
  for (unsigned i = 0; i < examples; ++i) {
    GH_TRY(const std::string place, get_text(r));
    GH_TRY(SoftwareEvent event, event_at(place));
    GH_TRY(event.time, get_time(r));
    change.examples.push_back(std::move(event));
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const StagingValue& value) {
  Writer w;
  w.put(layout_version);
  put_text(w, value.device);
  w.put(value.generation);
  w.put(value.pieces);
  w.put(value.change);
  return taken(std::move(w));
}
Result<StagingValue> decode_staging(std::string_view value) {
  Reader r(as_bytes(value), document);
  StagingValue out;
  GH_CHECK(get_version(r));
  GH_TRY(out.device, get_text(r));
  GH_TRY(out.generation, r.get<std::uint64_t>());
  GH_TRY(out.pieces, r.get<std::uint64_t>());
  GH_TRY(out.change, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const StoredTag& value) {
  Writer w;
  w.put(layout_version);
  w.put(value.data_model);
  put_time(w, value.first_seen);
  put_text(w, value.device);
  put_text(w, as_text(value.content));
  return taken(std::move(w));
}
Result<StoredTag> decode_tag(std::string_view value) {
  Reader r(as_bytes(value), document);
  StoredTag out;
  GH_CHECK(get_version(r));
  GH_TRY(out.data_model, r.get<std::uint32_t>());
  GH_TRY(out.first_seen, get_time(r));
  GH_TRY(out.device, get_text(r));
  GH_TRY(const std::string content, get_text(r));
  out.content = to_vector(as_bytes(content));
  GH_CHECK(r.finish());
  return out;
}

// Of item results that say since when an item isn't compliant; those of formats before 6 have the layout of all others.
constexpr std::uint8_t failing_result_version = 2;

std::string encode(const StoredItemResult& value) {
  Writer w;
  w.put(failing_result_version);
  put_time(w, value.time);
  w.put(std::uint8_t(value.result.recommendation));
  w.put(std::uint8_t(value.result.evaluation));
  for (const std::string* text : {&value.result.policy, &value.result.type, &value.result.text, &value.session,
                                  &value.identity, &value.identity_type, &value.key_pin})
    put_text(w, *text);
  put_bool(w, value.failing_since.has_value());
  if (value.failing_since) put_time(w, *value.failing_since);
  return taken(std::move(w));
}
Result<StoredItemResult> decode_item_result(std::string_view value) {
  Reader r(as_bytes(value), document);
  StoredItemResult out;
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version < layout_version || version > failing_result_version) return r.fail("record of another layout version");
  GH_TRY(out.time, get_time(r));
  GH_TRY(out.result.recommendation, get_enum(r, pipeline::Recommendation::none));
  GH_TRY(out.result.evaluation, get_enum(r, pipeline::Evaluation::unknown));
  for (std::string* text : {&out.result.policy, &out.result.type, &out.result.text, &out.session, &out.identity,
                            &out.identity_type, &out.key_pin}) {
    GH_TRY(*text, get_text(r));
  }
  if (version >= failing_result_version) {
    GH_TRY(const bool failing, get_bool(r));
    if (failing) {
      GH_TRY(out.failing_since, get_time(r));
    }
  }
  GH_CHECK(r.finish());
  return out;
}

}  // namespace gatehouse::server::layout
