#include "wire/swima/swima.h"

#include "base/hex.h"
#include "wire/patnc/patnc.h"

namespace gatehouse::swima {
namespace {

constexpr std::uint8_t flag_clear = 0x80, flag_subscribe = 0x40, flag_identifiers_only = 0x20;
constexpr std::uint8_t flag_fulfilment = 0x80;
constexpr std::size_t least_request = 12;
// Bytes of a record and of an event up to and with the identifier's length.
constexpr std::size_t software_start = 12, event_start = 36;

Result<std::string_view> parse_identifier(Reader& r, std::size_t limit) {
  const auto at = r;
  GH_TRY(const auto length, r.get<std::uint16_t>());
  if (length > r.remaining()) return at.fail("software identifier longer than the attribute");
  if (length == 0) return at.fail("software identifier is empty");
  if (length > limit) return at.fail(Fault::limit, "software identifier too long");
  GH_TRY(const auto identifier, patnc::parse_text(r, length));
  if (!is_utf8(identifier)) return at.fail("software identifier isn't UTF-8");
  return identifier;
}

void append_name(Writer& w, std::string_view text) {
  GH_ASSERT(text.size() <= 0xFFFF);
  w.put(std::uint16_t(text.size()));
  w.put_text(text);
}

// A request as it stands alone and in a Subscription Status Response.
Result<Request> parse_one_request(Reader& r, std::string_view too_short) {
  if (r.remaining() < least_request) return r.fail(too_short);
  Request v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  v.clear_subscriptions = (flags & flag_clear) != 0;
  v.subscribe = (flags & flag_subscribe) != 0;
  v.identifiers_only = (flags & flag_identifiers_only) != 0;
  GH_TRY(const auto count, r.get24());
  GH_TRY(v.id, r.get<std::uint32_t>());
  GH_TRY(v.earliest_eid, r.get<std::uint32_t>());
  for (std::uint32_t i = 0; i < count; ++i) {
    GH_TRY(const auto identifier, parse_identifier(r, Limits{}.name_bytes));
    v.targets.push_back(identifier);
  }
  return v;
}

// The bytes that a record takes, as far as those of `r` tell: its fixed start, identifier, locator and record.
Result<std::size_t> size_so_far(Reader r, std::size_t fixed, Content content, const Limits& limits) {
  std::size_t size = fixed;
  if (r.remaining() < size) return size;
  GH_CHECK(r.skip(fixed - 2));
  const auto at_identifier = r;
  GH_TRY(const auto identifier, r.get<std::uint16_t>());
  if (identifier > limits.name_bytes) return at_identifier.fail(Fault::limit, "software identifier too long");
  size += identifier + std::size_t(2);
  if (r.remaining() < identifier + std::size_t(2)) return size;
  GH_CHECK(r.skip(identifier));
  const auto at_locator = r;
  GH_TRY(const auto locator, r.get<std::uint16_t>());
  if (locator > limits.name_bytes) return at_locator.fail(Fault::limit, "software locator too long");
  size += locator;
  if (content == Content::identifiers) return size;
  size += 4;
  if (r.remaining() < locator + std::size_t(4)) return size;
  GH_CHECK(r.skip(locator));
  const auto at_record = r;
  GH_TRY(const auto record, r.get<std::uint32_t>());
  if (record > limits.record_bytes) return at_record.fail(Fault::limit, "software record too long");
  return size + record;
}

Result<void> parse_model(Reader& r, SoftwareRecord& v) {
  GH_TRY(v.record_id, r.get<std::uint32_t>());
  GH_TRY(v.model_vendor, r.get24());
  GH_TRY(v.model_type, r.get<std::uint8_t>());
  GH_TRY(v.source, r.get<std::uint8_t>());
  return {};
}
void append_model(Writer& w, const SoftwareRecord& v) {
  w.put(v.record_id);
  w.put24(v.model_vendor);
  w.put(v.model_type);
  w.put(v.source);
}

Result<void> parse_names(Reader& r, SoftwareRecord& v, Content content, const Limits& limits) {
  GH_TRY(v.identifier, parse_identifier(r, limits.name_bytes));
  GH_TRY(const auto locator, r.get<std::uint16_t>());
  GH_TRY(v.locator, patnc::parse_text(r, locator));
  if (content == Content::identifiers) return {};
  GH_TRY(const auto record, r.get<std::uint32_t>());
  GH_TRY(v.record, r.take(record));
  return {};
}
void append_names(Writer& w, const SoftwareRecord& v, Content content) {
  append_name(w, v.identifier);
  append_name(w, v.locator);
  if (content == Content::identifiers) return;
  w.put(std::uint32_t(v.record.size()));
  w.put_bytes(v.record);
}

// What both kinds of header begin with, 16 bytes.
template <class Header>
Result<Header> parse_start(Reader& r, const Limits& limits) {
  Header v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  v.subscription_fulfilment = (flags & flag_fulfilment) != 0;
  const auto at_count = r;
  GH_TRY(v.count, r.get24());
  if (v.count > limits.records) return at_count.fail(Fault::limit, "too many software records announced");
  GH_TRY(v.request_id, r.get<std::uint32_t>());
  GH_TRY(v.eid_epoch, r.get<std::uint32_t>());
  GH_TRY(v.last_eid, r.get<std::uint32_t>());
  return v;
}
template <class Header>
void append_start(Writer& w, const Header& v) {
  w.put(std::uint8_t(v.subscription_fulfilment ? flag_fulfilment : 0));
  w.put24(v.count);
  w.put(v.request_id);
  w.put(v.eid_epoch);
  w.put(v.last_eid);
}

// RFC 3339 in UTC, with whole seconds. All zero is what collectors say that don't know when a package was installed.
bool is_timestamp(std::string_view text) {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != form.size()) return false;
  for (std::size_t i = 0; i < form.size(); ++i)
    if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return false;
  if (text == "0000-00-00T00:00:00Z") return true;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int n = 0;
    for (std::size_t i = at; i < at + digits; ++i) n = n * 10 + (text[i] - '0');
    return n;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  if (month < 1 || month > 12) return false;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const int most = month == 2 && leap ? 29 : days[month - 1];
  return day >= 1 && day <= most && number(11, 2) <= 23 && number(14, 2) <= 59 && number(17, 2) <= 60;  // leap second
}

}  // namespace

Result<Request> parse_request(Reader& r) {
  GH_TRY(auto v, parse_one_request(r, "SWIMA Request shorter than 12 bytes"));
  GH_CHECK(r.finish());
  return v;
}
void append_request(Writer& w, const Request& v) {
  w.put(std::uint8_t((v.clear_subscriptions ? flag_clear : 0) | (v.subscribe ? flag_subscribe : 0) |
                     (v.identifiers_only ? flag_identifiers_only : 0)));
  w.put24(std::uint32_t(v.targets.size()));
  w.put(v.id);
  w.put(v.earliest_eid);
  for (const std::string_view target : v.targets) append_name(w, target);
}
std::uint32_t answer_type(const Request& v) {
  if (v.earliest_eid == 0)
    return v.identifiers_only ? patnc::type::software_identifier_inventory : patnc::type::software_inventory;
  return v.identifiers_only ? patnc::type::software_identifier_events : patnc::type::software_events;
}

bool operator==(const SoftwareRecord& a, const SoftwareRecord& b) {
  return a.record_id == b.record_id && a.model_vendor == b.model_vendor && a.model_type == b.model_type &&
         a.source == b.source && a.identifier == b.identifier && a.locator == b.locator && equal(a.record, b.record);
}

Result<InventoryHeader> InventoryFormat::parse_header(Reader& r) const {
  return parse_start<InventoryHeader>(r, limits);
}
Result<std::size_t> InventoryFormat::needed(const Header&, Reader r) const {
  return size_so_far(r, software_start, content, limits);
}
Result<SoftwareRecord> InventoryFormat::parse(const Header&, Reader& r) const {
  SoftwareRecord v;
  GH_CHECK(parse_model(r, v));
  GH_CHECK(r.skip(1));
  GH_CHECK(parse_names(r, v, content, limits));
  return v;
}
void append_inventory_header(Writer& w, const InventoryHeader& v) { append_start(w, v); }
void append_software(Writer& w, const SoftwareRecord& v, Content content) {
  append_model(w, v);
  w.put(std::uint8_t{0});
  append_names(w, v, content);
}
void append_inventory(Writer& w, InventoryHeader header, std::span<const SoftwareRecord> records, Content content) {
  header.count = std::uint32_t(records.size());
  append_inventory_header(w, header);
  for (const SoftwareRecord& v : records) append_software(w, v, content);
}

std::string_view name(Action action) {
  switch (action) {
    case Action::creation:
      return "creation";
    case Action::deletion:
      return "deletion";
    case Action::alteration:
      return "alteration";
  }
  return "unknown";
}

Result<EventsHeader> EventsFormat::parse_header(Reader& r) const {
  GH_TRY(auto v, parse_start<EventsHeader>(r, limits));
  const auto at = r;
  GH_TRY(v.last_consulted_eid, r.get<std::uint32_t>());
  if (v.last_consulted_eid > v.last_eid) return at.fail("last consulted EID above the last EID");
  return v;
}
Result<std::size_t> EventsFormat::needed(const Header&, Reader r) const {
  return size_so_far(r, event_start, content, limits);
}
Result<Event> EventsFormat::parse(const Header&, Reader& r) const {
  Event v;
  GH_TRY(v.eid, r.get<std::uint32_t>());
  const auto at_timestamp = r;
  GH_TRY(const Bytes timestamp, r.take(20));
  v.timestamp = as_text(timestamp);
  if (!is_timestamp(v.timestamp)) return at_timestamp.fail("event timestamp isn't an RFC 3339 time");
  GH_CHECK(parse_model(r, v.software));
  const auto at_action = r;
  GH_TRY(const auto action, r.get<std::uint8_t>());
  if (action < 1 || action > 3) return at_action.fail("unknown action of an event");
  v.action = Action(action);
  GH_CHECK(parse_names(r, v.software, content, limits));
  return v;
}
void append_events_header(Writer& w, const EventsHeader& v) {
  append_start(w, v);
  w.put(v.last_consulted_eid);
}
void append_event(Writer& w, const Event& v, Content content) {
  GH_ASSERT(v.timestamp.size() == 20);
  w.put(v.eid);
  w.put_text(v.timestamp);
  append_model(w, v.software);
  w.put(std::uint8_t(v.action));
  append_names(w, v.software, content);
}
void append_events(Writer& w, EventsHeader header, std::span<const Event> events, Content content) {
  header.count = std::uint32_t(events.size());
  append_events_header(w, header);
  for (const Event& v : events) append_event(w, v, content);
}

Result<std::vector<Request>> parse_subscription_status(Reader& r) {
  if (r.remaining() < 4) return r.fail("Subscription Status Response shorter than 4 bytes");
  GH_CHECK(r.skip(1));
  GH_TRY(const auto count, r.get24());
  std::vector<Request> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    GH_TRY(auto subscription, parse_one_request(r, "fewer subscriptions than announced"));
    out.push_back(std::move(subscription));
  }
  GH_CHECK(r.finish());
  return out;
}
void append_subscription_status(Writer& w, std::span<const Request> subscriptions) {
  w.put(std::uint8_t{0});
  w.put24(std::uint32_t(subscriptions.size()));
  for (const Request& v : subscriptions) append_request(w, v);
}

Result<std::vector<SourceMetadata>> parse_source_metadata(Reader& r) {
  if (r.remaining() < 3) return r.fail("Source Metadata Response shorter than 3 bytes");
  GH_CHECK(r.skip(1));
  GH_TRY(const auto count, r.get<std::uint16_t>());
  std::vector<SourceMetadata> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    SourceMetadata v;
    GH_TRY(v.source, r.get<std::uint8_t>());
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length > r.remaining()) return at.fail("source metadata longer than the attribute");
    GH_TRY(v.metadata, patnc::parse_text(r, length));
    if (!is_utf8(v.metadata)) return at.fail("source metadata isn't UTF-8");
    out.push_back(v);
  }
  GH_CHECK(r.finish());
  return out;
}
void append_source_metadata(Writer& w, std::span<const SourceMetadata> sources) {
  GH_ASSERT(sources.size() <= 0xFFFF);
  w.put(std::uint8_t{0});
  w.put(std::uint16_t(sources.size()));
  for (const SourceMetadata& v : sources) {
    w.put(v.source);
    append_name(w, v.metadata);
  }
}

Result<ErrorInformation> parse_error_information(std::uint32_t code, Reader& r) {
  ErrorInformation v;
  GH_TRY(v.id, r.get<std::uint32_t>());
  if (code == error::response_too_large) {
    GH_TRY(v.maximum_size, r.get<std::uint32_t>());
  }
  GH_TRY(const Bytes description, r.take(r.remaining()));
  v.description = as_text(description);
  return v;
}
void append_error_information(Writer& w, std::uint32_t code, const ErrorInformation& v) {
  w.put(v.id);
  if (code == error::response_too_large) w.put(v.maximum_size);
  w.put_text(v.description);
}

std::optional<IdentifierParts> split_identifier(std::string_view identifier) {
  const std::size_t at = identifier.find("__");
  if (at == std::string_view::npos || at == 0 || at + 2 == identifier.size()) return std::nullopt;
  return IdentifierParts{identifier.substr(0, at), identifier.substr(at + 2)};
}

}  // namespace gatehouse::swima
