// Software inventories and events (RFC 8412; spec part 1b §5, §1.7.8), message type IETF/SWIMA. Every function reads or
// writes an attribute's value (without its 12-byte header); offsets in errors count from `r`'s outermost buffer.
// Big-endian. Parsed values borrow from the bytes given. Attribute types are in patnc::type.
//
//   Reader r(attribute.value, spec, attribute.value_offset());
//   GH_TRY(const auto header, patnc::parse_records(r, swima::InventoryFormat{.content = swima::Content::identifiers},
//                                                  [&](const swima::SoftwareRecord& record) { … }));
//
// or with InventoryCursor and EventsCursor, while segments arrive (wire/patnc/cursor.h).
//
// Software identifiers are 1 to 4,096 bytes of UTF-8 without NUL; locators up to 4,096 bytes without NUL. Text of a
// peer is escaped where it is printed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/writer.h"
#include "wire/patnc/cursor.h"

namespace gatehouse::swima {

struct Limits {
  std::size_t name_bytes = 4096;  // of an identifier, of a locator
  std::size_t record_bytes = std::size_t(4) << 20;
  std::uint32_t records = 1'000'000;
};

// Software inventory and events come with (types 16, 17) or without (14, 15) the records themselves.
enum class Content : std::uint8_t { identifiers, records };

// Request (13): u8 flags, u24 count, u32 request id, u32 earliest EID, then each u16 length + software identifier.
struct Request {
  bool clear_subscriptions = false, subscribe = false, identifiers_only = false;
  std::uint32_t id = 0;                   // of the request, and of the subscription that it makes
  std::uint32_t earliest_eid = 0;         // 0: the inventory; else events from this one on
  std::vector<std::string_view> targets;  // none: everything
  bool operator==(const Request&) const = default;
};
Result<Request> parse_request(Reader& r);
void append_request(Writer& w, const Request& v);
// The attribute type that answers a request of an endpoint that records events.
std::uint32_t answer_type(const Request& v);

// What inventories and events say of one installed software.
struct SoftwareRecord {
  std::uint32_t record_id = 0;
  std::uint32_t model_vendor = 0;  // data model type: PEN 0, type 0 is ISO/IEC 19770-2:2015, type 1 :2009
  std::uint8_t model_type = 0;
  std::uint8_t source = 0;  // source identification number
  std::string_view identifier;
  std::string_view locator{};  // URI of the folder, may be empty
  Bytes record{};              // Content::records only; not parsed here
};
bool operator==(const SoftwareRecord& a, const SoftwareRecord& b);

// Inventories (14, 16): 16 bytes, then records.
struct InventoryHeader {
  bool subscription_fulfilment = false;
  std::uint32_t count = 0;       // 24 bits
  std::uint32_t request_id = 0;  // subscription id in a fulfilment
  std::uint32_t eid_epoch = 0;
  std::uint32_t last_eid = 0;  // 0: no events recorded
  bool operator==(const InventoryHeader&) const = default;
};
struct InventoryFormat {
  using Header = InventoryHeader;
  using Record = SoftwareRecord;
  static constexpr std::size_t header_size = 16;
  static constexpr std::string_view spec = "RFC 8412";
  Content content = Content::identifiers;
  Limits limits{};

  Result<Header> parse_header(Reader& r) const;
  std::uint64_t count(const Header& header) const { return header.count; }
  Result<std::size_t> needed(const Header& header, Reader r) const;
  Result<Record> parse(const Header& header, Reader& r) const;
};
using InventoryCursor = patnc::Cursor<InventoryFormat>;
void append_inventory_header(Writer& w, const InventoryHeader& v);
void append_software(Writer& w, const SoftwareRecord& v, Content content);
// With as many records as given, whatever the header's count.
void append_inventory(Writer& w, InventoryHeader header, std::span<const SoftwareRecord> records, Content content);

// Events (15, 17): 20 bytes, then events. Several may share one EID.
enum class Action : std::uint8_t { creation = 1, deletion = 2, alteration = 3 };
std::string_view name(Action action);
struct Event {
  std::uint32_t eid = 0;
  std::string_view timestamp;  // 20 characters, "2022-05-31T08:30:01Z"; "0000-00-00T00:00:00Z": unknown
  Action action = Action::creation;
  SoftwareRecord software;  // a deletion's record may be empty
  bool operator==(const Event&) const = default;
};
struct EventsHeader {
  bool subscription_fulfilment = false;
  std::uint32_t count = 0;
  std::uint32_t request_id = 0;
  std::uint32_t eid_epoch = 0;
  std::uint32_t last_eid = 0;
  std::uint32_t last_consulted_eid = 0;  // at most last_eid; below it the list is partial
  bool operator==(const EventsHeader&) const = default;
};
struct EventsFormat {
  using Header = EventsHeader;
  using Record = Event;
  static constexpr std::size_t header_size = 20;
  static constexpr std::string_view spec = "RFC 8412";
  Content content = Content::identifiers;
  Limits limits{};

  Result<Header> parse_header(Reader& r) const;
  std::uint64_t count(const Header& header) const { return header.count; }
  Result<std::size_t> needed(const Header& header, Reader r) const;
  Result<Record> parse(const Header& header, Reader& r) const;
};
using EventsCursor = patnc::Cursor<EventsFormat>;
void append_events_header(Writer& w, const EventsHeader& v);
void append_event(Writer& w, const Event& v, Content content);
void append_events(Writer& w, EventsHeader header, std::span<const Event> events, Content content);

// Subscription Status Response (19): u8 reserved, u24 count, then the requests that made the subscriptions. The Request
// (18) is empty: patnc::parse_empty.
Result<std::vector<Request>> parse_subscription_status(Reader& r);
void append_subscription_status(Writer& w, std::span<const Request> subscriptions);

// Source Metadata Response (21): u8 reserved, u16 count, then each source as u8 number, u16 length + metadata (UTF-8).
// The Request (20) is empty.
struct SourceMetadata {
  std::uint8_t source = 0;
  std::string_view metadata;
  bool operator==(const SourceMetadata&) const = default;
};
Result<std::vector<SourceMetadata>> parse_source_metadata(Reader& r);
void append_source_metadata(Writer& w, std::span<const SourceMetadata> sources);

// SWIMA's codes of the PA-TNC Error attribute (vendor_ietf).
namespace error {
inline constexpr std::uint32_t general = 4, subscription_denied = 5, response_too_large = 6,
                               subscription_fulfillment = 7, subscription_id_reuse = 8;
}  // namespace error
// The information of codes 4-8: u32 id, in code 6 u32 maximum size, then text to the end.
struct ErrorInformation {
  std::uint32_t id = 0;            // of the request, in code 7 of the subscription
  std::uint32_t maximum_size = 0;  // bytes; response_too_large only
  std::string_view description{};  // for people; in code 7 the sub-error as it came, not text
  bool operator==(const ErrorInformation&) const = default;
};
Result<ErrorInformation> parse_error_information(std::uint32_t code, Reader& r);
void append_error_information(Writer& w, std::uint32_t code, const ErrorInformation& v);

// "<regid of the tag's creator>__<tagId>", at the first two underscores; nothing when a part is missing.
struct IdentifierParts {
  std::string_view regid, tag_id;
};
std::optional<IdentifierParts> split_identifier(std::string_view identifier);

}  // namespace gatehouse::swima
