#include "server/state/layout.h"

#include <algorithm>
#include <array>
#include <bit>

#include "server/state/codec.h"
#include "server/state/pieces.h"
#include "server/state/store.h"

namespace gatehouse::server::layout {
namespace {

// Of session records with timing; those of formats 1 and 2 have the layout of all others.
constexpr std::uint8_t timed_session_version = 2, monitored_session_version = 3, packed_session_version = 4;
// Of device records with a life cycle; those of formats 1 to 4 have the layout of all others.
constexpr std::uint8_t living_device_version = 2;
// Since format 7.
constexpr std::uint8_t attested_version = 2;

// What the records of earlier formats say of a device's state: nobody decided on it, or its keys tell.
DeviceState state_by_keys(const Device& device) {
  const auto any = [&](KeyState state) {
    return std::any_of(device.keys.begin(), device.keys.end(), [&](const DeviceKey& key) { return key.state == state; });
  };
  if (!device.enrolled) return DeviceState::pending;
  if (any(KeyState::trusted)) return DeviceState::trusted;
  return any(KeyState::revoked) && !any(KeyState::pending) ? DeviceState::revoked : DeviceState::pending;
}

constexpr auto digits = [] {
  std::array<std::int8_t, 256> out{};
  out.fill(-1);
  for (int i = 0; i < 10; ++i) out[std::size_t('0' + i)] = std::int8_t(i);
  for (int i = 0; i < 6; ++i) out[std::size_t('a' + i)] = out[std::size_t('A' + i)] = std::int8_t(10 + i);
  return out;
}();

std::string joined(char kind, std::string_view text) {
  std::string out;
  out.reserve(1 + text.size());
  out.push_back(kind);
  return out.append(text);
}
// The same of text in hex; of other text the letter alone. A session makes ten such keys.
std::string joined_raw(char kind, std::string_view hex) {
  std::string out(hex.size() % 2 == 0 ? 1 + hex.size() / 2 : 1, kind);
  for (std::size_t i = 1; i < out.size(); ++i) {
    const int high = digits[std::uint8_t(hex[2 * i - 2])], low = digits[std::uint8_t(hex[2 * i - 1])];
    if (high < 0 || low < 0) return std::string(1, kind);
    out[i] = char(high << 4 | low);
  }
  return out;
}

Result<HashAlgorithm> get_algorithm(Reader& r) {
  GH_TRY(const auto id, r.get<std::uint16_t>());
  const auto algorithm = hash_algorithm(id);
  if (!algorithm) return r.fail("unknown hash algorithm");
  return *algorithm;
}

void put_key(Writer& w, const DeviceKey& key) {
  w.put(std::uint8_t(key.state));
  w.put(std::uint8_t(key.source));
  put_text(w, key.key_id);
  put_text(w, key.pin);
  put_text(w, as_text(key.spki));
  w.put(std::uint8_t(key.object_attributes ? 1 : 0));
  w.put(key.object_attributes.value_or(0));
  w.put(std::uint8_t(key.name_algorithm ? 1 : 0));
  w.put(key.name_algorithm ? std::uint16_t(*key.name_algorithm) : std::uint16_t(0));
  put_text(w, as_text(key.qualified_name));
  w.put(std::uint64_t(key.since));
}

Result<DeviceKey> get_key(Reader& r) {
  DeviceKey key;
  GH_TRY(key.state, get_enum(r, KeyState::revoked));
  GH_TRY(key.source, get_enum(r, KeySource::activation));
  GH_TRY(key.key_id, get_text(r));
  GH_TRY(key.pin, get_text(r));
  GH_TRY(const std::string spki, get_text(r));
  key.spki = to_vector(as_bytes(spki));
  GH_TRY(const bool has_attributes, get_bool(r));
  GH_TRY(const auto attributes, r.get<std::uint32_t>());
  if (has_attributes) key.object_attributes = attributes;
  GH_TRY(const bool has_algorithm, get_bool(r));
  GH_TRY(const auto algorithm, r.get<std::uint16_t>());
  if (has_algorithm) {
    key.name_algorithm = hash_algorithm(algorithm);
    if (!key.name_algorithm) return r.fail("unknown hash algorithm");
  }
  GH_TRY(const std::string qualified_name, get_text(r));
  key.qualified_name = to_vector(as_bytes(qualified_name));
  GH_TRY(key.since, get_time(r));
  return key;
}

}  // namespace

std::string number32(std::uint32_t n) {
  Writer w;
  w.put(n);
  return taken(std::move(w));
}
std::string number64(std::uint64_t n) {
  Writer w;
  w.put(n);
  return taken(std::move(w));
}
std::uint64_t read_number64(std::string_view eight_bytes) {
  Reader r(as_bytes(eight_bytes), document);
  const auto n = r.get<std::uint64_t>();
  return n ? *n : 0;
}

std::string device_key(std::string_view device) { return joined('d', device); }
std::string key_id_prefix(std::string_view key_id) { return joined_raw('k', key_id) + '\0'; }
std::string shared_key(std::string_view key_id) { return joined_raw('S', key_id); }
std::string revoked_pin_key(std::string_view pin) { return joined_raw('x', pin); }
std::string revoked_id_key(std::string_view key_id) { return joined_raw('X', key_id); }
std::string quote_key(std::string_view pin) { return joined_raw('q', pin); }
std::string history_prefix(std::string_view device) { return joined('D', device) + '\0'; }
std::string history_key(std::string_view device, std::uint64_t number) { return history_prefix(device) + number64(number); }
std::string attested_key(std::string_view device) { return joined('a', device); }
std::string lease_key(std::int64_t time, std::string_view device) {
  return joined(lease_letter, number64(std::uint64_t(time))).append(device);
}
std::string model_prefix(std::string_view model) { return joined('G', model) + '\0'; }
std::string model_key(std::string_view model, std::string_view device) { return model_prefix(model).append(device); }
std::string announcement_prefix(std::string_view model) { return joined(announcement_letter, model) + '\0'; }
std::string announcement_key(std::string_view model, std::uint64_t number) { return announcement_prefix(model) + number64(number); }
std::string offer_key(std::string_view id) { return joined_raw(offer_letter, id); }
std::string bound_ek_key(std::string_view device) { return joined('J', device); }
std::string ek_owner_key(std::string_view pin) { return joined_raw('K', pin); }
std::string baseline_prefix(std::string_view device) { return joined('b', device) + '\0'; }
std::string baseline_key(std::string_view device, std::uint64_t number) {
  return baseline_prefix(device) + number64(number);
}
std::string session_key(std::string_view session) { return joined('s', session); }
std::string open_key(std::string_view session) { return joined('o', session); }
std::string age_prefix(char session_class) { return {'t', session_class}; }
std::string age_key(char session_class, std::int64_t started, std::string_view session) {
  return age_prefix(session_class) + place(started, session);
}
std::string place(std::int64_t started, std::string_view session) { return number64(std::uint64_t(started)).append(session); }
std::string device_session_prefix(std::string_view device) { return joined('v', device) + '\0'; }
std::string device_session_key(std::string_view device, std::int64_t started, std::string_view session) {
  return device_session_prefix(device) + place(started, session);
}

std::string shadow_key(std::string_view session) { return joined('H', session); }
std::string evidence_key(std::string_view session) { return joined('E', session); }
std::string evidence_age_key(std::int64_t started, std::string_view session) {
  return joined(evidence_age_letter, number64(std::uint64_t(started))).append(session);
}
std::string piece_key(const Digest& id) { return joined('B', as_text(id.view())); }
std::string piece_count_key(const Digest& id) { return joined('R', as_text(id.view())); }

std::string encode(const Tallies& value) {
  Writer w;
  w.put(layout_version);
  for (const std::uint64_t n : {value.pending_devices, value.enrolled_sessions, value.other_sessions}) w.put(n);
  return taken(std::move(w));
}
Result<Tallies> decode_tallies(std::string_view value) {
  Reader r(as_bytes(value), document);
  Tallies out;
  GH_CHECK(get_version(r));
  for (std::uint64_t* const n : {&out.pending_devices, &out.enrolled_sessions, &out.other_sessions}) {
    GH_TRY(*n, r.get<std::uint64_t>());
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const DeviceValue& value) {
  Writer w;
  w.put(living_device_version);
  put_text(w, value.device.id);
  put_text(w, value.device.product);
  w.put(std::uint8_t(value.device.enrolled ? 1 : 0));
  w.put(std::uint64_t(value.device.created));
  w.put(value.next_baseline);
  w.put(std::uint16_t(value.device.identities.size()));
  for (const std::string& identity : value.device.identities) put_text(w, identity);
  w.put(std::uint16_t(value.device.keys.size()));
  for (const DeviceKey& key : value.device.keys) put_key(w, key);
  w.put(std::uint8_t(value.device.state));
  w.put(std::uint64_t(value.device.state_since));
  put_text(w, value.device.model);
  w.put(value.device.changes);
  return taken(std::move(w));
}

Result<DeviceValue> decode_device(std::string_view value) {
  Reader r(as_bytes(value), document);
  DeviceValue out;
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version != layout_version && version != living_device_version) return r.fail("record of another layout version");
  GH_TRY(out.device.id, get_text(r));
  GH_TRY(out.device.product, get_text(r));
  GH_TRY(out.device.enrolled, get_bool(r));
  GH_TRY(out.device.created, get_time(r));
  GH_TRY(out.next_baseline, r.get<std::uint64_t>());
  GH_TRY(const auto identities, r.get<std::uint16_t>());
  for (unsigned i = 0; i < identities; ++i) {
    GH_TRY(std::string identity, get_text(r));
    out.device.identities.push_back(std::move(identity));
  }
  GH_TRY(const auto keys, r.get<std::uint16_t>());
  for (unsigned i = 0; i < keys; ++i) {
    GH_TRY(DeviceKey key, get_key(r));
    out.device.keys.push_back(std::move(key));
  }
  if (version == living_device_version) {
    GH_TRY(out.device.state, get_enum(r, DeviceState::retired));
    GH_TRY(out.device.state_since, get_time(r));
    GH_TRY(out.device.model, get_text(r));
    GH_TRY(out.device.changes, r.get<std::uint64_t>());
  } else {
    out.device.state = state_by_keys(out.device);
    out.device.state_since = out.device.created;
    for (const DeviceKey& key : out.device.keys) out.device.state_since = std::max(out.device.state_since, key.since);
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const HistoryEntry& value) {
  Writer w;
  w.put(layout_version);
  w.put(std::uint64_t(value.time));
  w.put(std::uint8_t(value.state));
  for (const std::string* text : {&value.by, &value.what, &value.why}) put_text(w, *text);
  return taken(std::move(w));
}

Result<HistoryEntry> decode_history(std::string_view value, std::uint64_t number) {
  Reader r(as_bytes(value), document);
  HistoryEntry out;
  out.number = number;
  GH_CHECK(get_version(r));
  GH_TRY(out.time, get_time(r));
  GH_TRY(out.state, get_enum(r, DeviceState::retired));
  for (std::string* text : {&out.by, &out.what, &out.why}) {
    GH_TRY(*text, get_text(r));
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const Attested& value) {
  Writer w;
  w.put(attested_version);
  w.put(std::uint64_t(value.time));
  w.put(std::uint8_t(value.recommendation));
  put_text(w, value.session);
  w.put(std::uint8_t(value.looked_for ? 1 : 0));
  w.put(std::uint64_t(value.looked_for.value_or(0)));
  return taken(std::move(w));
}

Result<Attested> decode_attested(std::string_view value) {
  Reader r(as_bytes(value), document);
  Attested out;
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version != layout_version && version != attested_version) return r.fail("record of another layout version");
  GH_TRY(out.time, get_time(r));
  GH_TRY(out.recommendation, get_enum(r, pipeline::Recommendation::none));
  GH_TRY(out.session, get_text(r));
  if (version == layout_version) {
    if (out.recommendation == pipeline::Recommendation::allow) out.looked_for = out.time;
  } else {
    GH_TRY(const bool looked_for, get_bool(r));
    GH_TRY(const std::int64_t when, get_time(r));
    if (looked_for) out.looked_for = when;
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const Announcement& value) {
  Writer w;
  w.put(layout_version);
  for (const std::string* text : {&value.model, &value.device, &value.by, &value.why}) put_text(w, *text);
  w.put(std::uint64_t(value.since));
  w.put(std::uint64_t(value.until));
  w.put(std::uint16_t(value.change.bank));
  w.put(std::uint32_t(value.change.hunks.size()));
  for (const BaselineHunk& hunk : value.change.hunks) {
    w.put(hunk.pcr);
    w.put(hunk.place);
    w.put(hunk.new_place);
    w.put(std::uint8_t(hunk.behind ? 1 : 0));
    if (hunk.behind) w.put_bytes(hunk.behind->view());
    for (const std::vector<Digest>* list : {&hunk.before, &hunk.after}) {
      w.put(std::uint32_t(list->size()));
      for (const Digest& digest : *list) w.put_bytes(digest.view());
    }
  }
  return taken(std::move(w));
}

Result<Announcement> decode_announcement(std::string_view value, std::uint64_t number) {
  Reader r(as_bytes(value), document);
  Announcement out;
  out.number = number;
  GH_CHECK(get_version(r));
  for (std::string* text : {&out.model, &out.device, &out.by, &out.why}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(out.since, get_time(r));
  GH_TRY(out.until, get_time(r));
  GH_TRY(out.change.bank, get_algorithm(r));
  const std::size_t size = digest_size(out.change.bank);
  GH_TRY(const auto hunks, r.get<std::uint32_t>());
  for (std::uint32_t i = 0; i < hunks; ++i) {
    BaselineHunk hunk;
    GH_TRY(hunk.pcr, r.get<std::uint32_t>());
    GH_TRY(hunk.place, r.get<std::uint32_t>());
    GH_TRY(hunk.new_place, r.get<std::uint32_t>());
    GH_TRY(const bool has_front, get_bool(r));
    if (has_front) {
      GH_TRY(const Bytes digest, r.take(size));
      hunk.behind.emplace(digest);
    }
    for (std::vector<Digest>* list : {&hunk.before, &hunk.after}) {
      GH_TRY(const auto count, r.get<std::uint32_t>());
      if (count > r.remaining() / size) return r.fail("truncated");
      for (std::uint32_t n = 0; n < count; ++n) {
        GH_TRY(const Bytes digest, r.take(size));
        list->emplace_back(digest);
      }
    }
    out.change.hunks.push_back(std::move(hunk));
  }
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const StoredBaseline& value) {
  Writer w;
  w.put(layout_version);
  w.put(std::uint8_t(value.state));
  put_text(w, value.session);
  w.put(std::uint64_t(value.since));
  w.put_text(baseline_content(value.baseline));
  return taken(std::move(w));
}

std::string baseline_content(const pipeline::Baseline& baseline) {
  Writer w;
  w.put(std::uint16_t(baseline.bank));
  w.put(std::uint16_t(baseline.events.size()));
  for (const auto& [pcr, digests] : baseline.events) {
    w.put(pcr);
    w.put(std::uint32_t(digests.size()));
    for (const Digest& digest : digests) w.put_bytes(digest.view());
  }
  return taken(std::move(w));
}

bool is_content_of(std::string_view content, const pipeline::Baseline& baseline) {
  const auto take = [&](std::string_view bytes) {
    const bool same = content.starts_with(bytes);
    if (same) content.remove_prefix(bytes.size());
    return same;
  };
  const auto take_number = [&](auto number) {
    if constexpr (std::endian::native == std::endian::little) number = std::byteswap(number);
    return take({reinterpret_cast<const char*>(&number), sizeof number});
  };
  if (!take_number(std::uint16_t(baseline.bank)) || !take_number(std::uint16_t(baseline.events.size()))) return false;
  for (const auto& [pcr, digests] : baseline.events) {
    if (!take_number(pcr) || !take_number(std::uint32_t(digests.size()))) return false;
    for (const Digest& digest : digests)
      if (!take(as_text(digest.view()))) return false;
  }
  return content.empty();
}

Result<BaselineHead> decode_baseline_head(std::string_view value, std::uint64_t number) {
  Reader r(as_bytes(value), document);
  BaselineHead out;
  StoredBaseline& record = out.record;
  record.number = number;
  GH_CHECK(get_version(r));
  GH_TRY(record.state, get_enum(r, BaselineState::retired));
  GH_TRY(record.session, get_text(r));
  GH_TRY(record.since, get_time(r));
  out.content = value.substr(value.size() - r.remaining());
  GH_TRY(record.baseline.bank, get_algorithm(r));
  return out;
}

Result<StoredBaseline> decode_baseline(std::string_view value, std::uint64_t number) {
  GH_TRY(BaselineHead head, decode_baseline_head(value, number));
  StoredBaseline& out = head.record;
  Reader r(as_bytes(head.content), document);
  GH_CHECK(r.take(sizeof(std::uint16_t)));  // the bank
  const std::size_t size = digest_size(out.baseline.bank);
  GH_TRY(const auto pcrs, r.get<std::uint16_t>());
  for (unsigned i = 0; i < pcrs; ++i) {
    GH_TRY(const auto pcr, r.get<std::uint32_t>());
    GH_TRY(const auto count, r.get<std::uint32_t>());
    if (count > r.remaining() / size) return r.fail("truncated");
    GH_TRY(const Bytes all, r.take(count * size));
    std::vector<Digest> digests;
    digests.reserve(count);
    for (std::size_t at = 0; at < all.size(); at += size) digests.emplace_back(all.subspan(at, size));
    out.baseline.events.emplace_back(pcr, std::move(digests));
  }
  GH_CHECK(r.finish());
  return std::move(out);
}

std::string encode(const pipeline::LastQuote& value) {
  Writer w;
  w.put(layout_version);
  w.put(value.clock);
  w.put(value.reset_count);
  w.put(value.restart_count);
  w.put(value.firmware_version);
  return taken(std::move(w));
}

Result<pipeline::LastQuote> decode_quote(std::string_view value) {
  Reader r(as_bytes(value), document);
  pipeline::LastQuote out;
  GH_CHECK(get_version(r));
  GH_TRY(out.clock, r.get<std::uint64_t>());
  GH_TRY(out.reset_count, r.get<std::uint32_t>());
  GH_TRY(out.restart_count, r.get<std::uint32_t>());
  GH_TRY(out.firmware_version, r.get<std::uint64_t>());
  GH_CHECK(r.finish());
  return out;
}

namespace {

std::string encode(SessionState state, const SessionIntent& intent, std::string_view device, std::int64_t finished, std::string_view packed,
                   const std::optional<SessionTiming>& timing, bool enforced) {
  const std::string_view texts[] = {intent.session,  device,               intent.product, intent.peer,
                                    intent.identity, intent.identity_type, intent.key_pin, intent.policy};
  constexpr std::size_t around_the_texts = 256;
  Writer w;
  std::size_t size = packed.size() + around_the_texts;
  for (const std::string_view text : texts) size += text.size();
  w.reserve_bytes(size);
  w.put(packed_session_version);
  w.put(std::uint8_t(state));
  for (const std::string_view text : texts) put_text(w, text);
  w.put(std::uint8_t(intent.generation ? 1 : 0));
  w.put(intent.generation.value_or(0));
  w.put(std::uint64_t(intent.started));
  w.put(std::uint64_t(finished));
  put_text(w, packed);
  w.put(std::uint8_t(timing ? 1 : 0));
  if (timing)
    for (const std::chrono::nanoseconds spent : timing->spent) w.put(std::uint64_t(spent.count()));
  w.put(std::uint8_t(enforced ? 1 : 0));
  return taken(std::move(w));
}

}  // namespace

std::string encode(const SessionRecord& value) {
  return encode(value.state, value.intent, value.intent.device, value.finished, compressed(as_bytes(value.verdict)), value.timing, value.enforced);
}

std::string encode_complete(const SessionResult& result, std::string_view device, std::string_view packed_verdict) {
  return encode(SessionState::complete, result.intent, device, result.finished, packed_verdict, result.timing, result.enforced);
}

Result<SessionRecord> decode_session(std::string_view value) {
  GH_TRY(StoredSession stored, decode_stored_session(value));
  if (stored.packed) {
    GH_TRY(const ByteVector verdict, decompressed(*stored.packed, max_verdict_bytes));
    stored.record.verdict = as_text(verdict);
  }
  return std::move(stored.record);
}

Result<StoredSession> decode_stored_session(std::string_view value) {
  Reader r(as_bytes(value), document);
  StoredSession stored;
  SessionRecord& out = stored.record;
  SessionIntent& intent = out.intent;
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version < layout_version || version > packed_session_version) return r.fail("record of another layout version");
  GH_TRY(out.state, get_enum(r, SessionState::complete));
  for (std::string* text : {&intent.session, &intent.device, &intent.product, &intent.peer, &intent.identity,
                            &intent.identity_type, &intent.key_pin, &intent.policy}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(const bool has_generation, get_bool(r));
  GH_TRY(const auto generation, r.get<std::uint64_t>());
  if (has_generation) intent.generation = generation;
  GH_TRY(intent.started, get_time(r));
  GH_TRY(out.finished, get_time(r));
  GH_TRY(const auto verdict_size, r.get<std::uint32_t>());
  GH_TRY(const Bytes verdict, r.take(verdict_size));
  if (version >= packed_session_version)
    stored.packed = as_text(verdict);
  else
    out.verdict = as_text(verdict);
  if (version >= timed_session_version) {
    GH_TRY(const bool has_timing, get_bool(r));
    if (has_timing) {
      out.timing.emplace();
      for (std::chrono::nanoseconds& spent : out.timing->spent) {
        GH_TRY(const auto count, r.get<std::uint64_t>());
        spent = std::chrono::nanoseconds(count);
      }
    }
  }
  if (version >= monitored_session_version) {
    GH_TRY(out.enforced, get_bool(r));
  }
  GH_CHECK(r.finish());
  return stored;
}

}  // namespace gatehouse::server::layout
