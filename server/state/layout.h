// Keys and values of the state store as docs/formats/state.md lays them out. Pure functions; what is read is checked as
// if somebody else had written it.
#pragma once

#include <string>
#include <string_view>

#include "server/state/state.h"

namespace gatehouse::server {
struct Tallies;
}
namespace gatehouse::server::layout {

// A device with what only the store needs to know of it.
struct DeviceValue {
  Device device;
  std::uint64_t next_baseline = 1;
};

inline constexpr std::size_t max_verdict_bytes = std::size_t(16) << 20;

inline constexpr std::string_view format_key = "F";
inline constexpr std::string_view tallies_key = "T";
inline constexpr std::string_view evidence_totals_key = "Z";
inline constexpr char evidence_age_letter = 'A';
inline constexpr char class_enrolled = 'k', class_other = 'u';
inline constexpr char classes[] = {class_enrolled, class_other};
// What lists are ordered by: behind the prefix of a row by age or of a device's.
std::string place(std::int64_t started, std::string_view session);

std::string number32(std::uint32_t n);
std::string number64(std::uint64_t n);
std::uint64_t read_number64(std::string_view eight_bytes);

std::string device_key(std::string_view device);
// Both take hex; the prefix is followed by Device IDs.
std::string key_id_prefix(std::string_view key_id);
// More than one device has, or had, a key with this id.
std::string shared_key(std::string_view key_id);
std::string revoked_pin_key(std::string_view pin);
std::string revoked_id_key(std::string_view key_id);
std::string quote_key(std::string_view pin);
std::string history_prefix(std::string_view device);
std::string history_key(std::string_view device, std::uint64_t number);
std::string attested_key(std::string_view device);
// Devices that were told allow, by the time of that verdict.
inline constexpr char lease_letter = 'L';
std::string lease_key(std::int64_t time, std::string_view device);
std::string model_prefix(std::string_view model);
std::string model_key(std::string_view model, std::string_view device);
inline constexpr char announcement_letter = 'U';
std::string announcement_prefix(std::string_view model);
std::string announcement_key(std::string_view model, std::uint64_t number);
inline constexpr char offer_letter = 'C';
// Both of what is named in hex.
std::string offer_key(std::string_view id);
std::string ek_owner_key(std::string_view pin);
std::string bound_ek_key(std::string_view device);
std::string baseline_prefix(std::string_view device);
std::string baseline_key(std::string_view device, std::uint64_t number);
std::string session_key(std::string_view session);
std::string open_key(std::string_view session);
// Of formats before 7: all sessions by time.
inline constexpr char old_times_letter = 'l';
std::string age_prefix(char session_class);
std::string age_key(char session_class, std::int64_t started, std::string_view session);
std::string device_session_prefix(std::string_view device);
std::string device_session_key(std::string_view device, std::int64_t started, std::string_view session);
std::string shadow_key(std::string_view session);
std::string evidence_key(std::string_view session);
std::string evidence_age_key(std::int64_t started, std::string_view session);
std::string piece_key(const Digest& id);
std::string piece_count_key(const Digest& id);

std::string encode(const Tallies& value);
std::string encode(const DeviceValue& value);
std::string encode(const StoredBaseline& value);
std::string encode(const pipeline::LastQuote& value);
std::string encode(const SessionRecord& value);
// The same of a complete one, without its copy. `device`: as it is recorded, in place of the intent's; `packed_verdict`: as a
// piece is kept, against a base or alone (server/state/verdicts.h).
std::string encode_complete(const SessionResult& result, std::string_view device, std::string_view packed_verdict);
std::string encode(const HistoryEntry& value);
std::string encode(const Attested& value);
std::string encode(const Announcement& value);
std::string encode(const EnrolmentOffer& value);
std::string encode(const BoundEk& value);
// But for what is counted of the evidence, which has a row of its own.
Result<Tallies> decode_tallies(std::string_view value);
Result<DeviceValue> decode_device(std::string_view value);
Result<StoredBaseline> decode_baseline(std::string_view value, std::uint64_t number);
// A baseline record as far as most need it: who asks whether it is the one that was measured compares `content`.
struct BaselineHead {
  StoredBaseline record;     // without its events
  std::string_view content;  // of the value: what baseline_content() has
};
Result<BaselineHead> decode_baseline_head(std::string_view value, std::uint64_t number);
std::string baseline_content(const pipeline::Baseline& baseline);
// Whether this is what baseline_content() would have of it.
bool is_content_of(std::string_view content, const pipeline::Baseline& baseline);
Result<HistoryEntry> decode_history(std::string_view value, std::uint64_t number);
Result<Attested> decode_attested(std::string_view value);
Result<Announcement> decode_announcement(std::string_view value, std::uint64_t number);
Result<EnrolmentOffer> decode_offer(std::string_view value, std::string id);
Result<BoundEk> decode_bound_ek(std::string_view value);
Result<pipeline::LastQuote> decode_quote(std::string_view value);
// A record as far as it says by itself what it has.
struct StoredSession {
  SessionRecord record;                     // without the verdict, where it is packed
  std::optional<std::string_view> packed;  // of the value; nothing: it is from before format 6, and the record has its verdict
};
Result<StoredSession> decode_stored_session(std::string_view value);
// With its verdict, which isn't kept against another one.
Result<SessionRecord> decode_session(std::string_view value);

}  // namespace gatehouse::server::layout
