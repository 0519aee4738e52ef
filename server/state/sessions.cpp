// What sessions write: intents, results, and what may be learned from a session whose quote verified.
#include <algorithm>

#include "base/hex.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t max_candidates = 16;     // of one device; the oldest go
constexpr std::size_t max_items = 256, max_item_text = 16'384;

// A Device ID as a session record names it: what can't be a key is kept readable.
std::string recorded_device(std::string_view id) {
  return id.empty() || acceptable_device_id(id) ? std::string(id) : escaped(id, 64);
}

Author by_session(const SessionResult& result) { return {.by = "session " + result.intent.session, .why = {}}; }

// Whether `b` comes after `a` on this key's counters (spec part 2 §4.5); counters wrap.
bool follows(const pipeline::LastQuote& a, const pipeline::LastQuote& b) {
  if (a.reset_count != b.reset_count) return std::int32_t(b.reset_count - a.reset_count) > 0;
  return b.clock > a.clock;
}

}  // namespace

void pack_record(Verdicts& verdicts, SessionResult& result) {
  if (result.verdict.size() > layout::max_verdict_bytes) return;  // it is refused
  PackedVerdict packed = verdicts.pack(result.verdict);
  result.record = layout::encode_complete(result, recorded_device(result.intent.device), packed.stored);
  result.base = std::move(packed.base);
  result.verdict = {};
}

bool acceptable_session_id(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '_';
  });
}

bool acceptable_device_id(std::string_view id) {
  return !id.empty() && id.size() <= 256 && is_printable(id);
}

bool PendingRate::take(std::int64_t now_ms) {
  if (now_ms > last_) tokens_ = std::min(burst_, tokens_ + per_second_ * double(now_ms - last_) / 1000.0);
  last_ = now_ms;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

SessionRecord open_record(SessionIntent intent) {
  intent.device = recorded_device(intent.device);
  return {.state = SessionState::open, .intent = std::move(intent)};
}

Result<std::uint64_t> State::Impl::begin(const Batch& batch, const SessionRecord& record) {
  const SessionIntent& intent = record.intent;
  if (!acceptable_session_id(intent.session) || intent.started < 0) return fail(Fault::internal, "not a session id");
  GH_TRY(const auto known, batch.read(layout::session_key(intent.session)));
  if (known || open_sessions.find(intent.session)) return fail(Fault::internal, "the session is recorded already");
  return open_file.add(layout::encode(record));
}

Result<void> State::Impl::finish(Batch& batch, const SessionResult& result) {
  if (!acceptable_session_id(result.intent.session) || result.intent.started < 0)
    return fail(Fault::internal, "not a session id");
  if (result.record.empty()) return fail(Fault::limit, "verdict larger than 16 MiB");
  SessionIntent intent = result.intent;
  intent.device = recorded_device(result.intent.device);
  // One that is open has none but of this write: that was asked when it began, and it is open no longer once a write gave it one.
  const std::string place = layout::session_key(intent.session);
  bool known = batch.puts(place);
  if (!known && (store->failed() || !open_sessions.find(intent.session))) {
    GH_TRY(const auto recorded, batch.read(place));
    known = recorded.has_value();
  }
  if (known) return fail(Fault::internal, "the session has a result already");
  std::optional<layout::DeviceValue> device;
  if (acceptable_device_id(result.intent.device)) {
    GH_TRY(device, read_device(batch, result.intent.device));
  }
  // Suspended, revoked or retired while its session went on.
  if (device && bars(device->device.state) && result.recommendation == pipeline::Recommendation::allow)
    return fail(Error{Fault::denied, "the device isn't trusted any longer", "docs/operations.md", 0, {}, std::string(name(device->device.state))});
  GH_CHECK(learn(batch, result, device));
  if (result.packed) GH_CHECK(keep_evidence(batch, intent, *result.packed));

  const bool enrolled = device && device->device.enrolled;
  if (enrolled) GH_CHECK(note_items(batch, result));
  if (enrolled) GH_CHECK(note_attested(batch, *device, result));
  const char session_class = enrolled ? layout::class_enrolled : layout::class_other;
  GH_CHECK(put_ended(batch, session_class, intent, result.record, result.base.get()));
  return retire_oldest(batch, session_class);
}

Result<void> State::Impl::put_ended(Batch& batch, char session_class, const SessionIntent& intent, const std::string& record,
                                     const VerdictBase* base) {
  if (base != nullptr) GH_CHECK(hold_base(batch, *base));
  batch.put(layout::session_key(intent.session), record);
  GH_TRY(const std::uint64_t entry, log_result(batch, intent.session, record));
  batch.put(layout::age_key(session_class, intent.started, intent.session), layout::number64(entry));
  if (!intent.device.empty()) batch.put(layout::device_session_key(intent.device, intent.started, intent.session), {});
  ++(session_class == layout::class_enrolled ? batch.tallies.enrolled_sessions : batch.tallies.other_sessions);
  return {};
}

// One goes for each that comes; two while there are too many (a smaller bound was configured).
Result<void> State::Impl::retire_oldest(Batch& batch, char session_class) {
  const bool enrolled = session_class == layout::class_enrolled;
  std::uint64_t& count = enrolled ? batch.tallies.enrolled_sessions : batch.tallies.other_sessions;
  const std::uint64_t most = enrolled ? options.max_sessions : options.max_unknown_sessions;
  if (count <= most) return {};
  const std::string prefix = layout::age_prefix(session_class);
  std::string& from = oldest[enrolled ? 0 : 1];
  for (int round = 0; round < 2 && count > most; ++round) {
    Row found;
    const Visit first = [&](std::string_view key, std::string_view value) {
      found = {std::string(key), std::string(value)};
      return false;
    };
    // From where the last one went: what lies before it are only deletion marks, which are slow to pass. A session that
    // began before that and ended late is found when the search comes round.
    GH_CHECK(batch.each(prefix, from, first));
    if (found.key.empty()) GH_CHECK(batch.each(prefix, prefix, first));
    if (found.key.size() < prefix.size() + 8) return {};
    GH_CHECK(retire_session(batch, session_class, found));
    from = found.key;
  }
  return {};
}

Result<void> State::Impl::retire_session(Batch& batch, char session_class, const Row& by_age) {
  const std::string session = by_age.key.substr(layout::age_prefix(session_class).size() + 8);
  GH_TRY(const auto value, batch.read(layout::session_key(session)));
  if (value) {
    GH_TRY(const layout::StoredSession stored, layout::decode_stored_session(*value));
    const SessionIntent& intent = stored.record.intent;
    if (const auto base = stored.packed ? Verdicts::base_of(*stored.packed) : std::nullopt) GH_CHECK(release_base(batch, *base));
    if (!intent.device.empty()) batch.erase(layout::device_session_key(intent.device, intent.started, session));
    batch.erase(layout::session_key(session));
    GH_CHECK(log_retirement(batch, session, by_age.value));
    batch.erase(layout::shadow_key(session));
    GH_CHECK(forget_evidence(batch, session));
  }
  batch.erase(by_age.key);
  --(session_class == layout::class_enrolled ? batch.tallies.enrolled_sessions : batch.tallies.other_sessions);
  return {};
}

Result<bool> State::Impl::retire_aged(Batch& batch, int most) {
  if (options.max_session_age.count() == 0) return false;
  const std::int64_t oldest_kept = now() - options.max_session_age.count();
  std::vector<Row> aged;
  for (const char session_class : layout::classes) {
    const std::string prefix = layout::age_prefix(session_class);
    aged.clear();
    GH_CHECK(batch.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      if (key.size() < prefix.size() + 8 || std::int64_t(layout::read_number64(key.substr(prefix.size(), 8))) >= oldest_kept) return false;
      aged.push_back({std::string(key), std::string(value)});
      return aged.size() < std::size_t(most);
    }));
    for (const Row& one : aged) GH_CHECK(retire_session(batch, session_class, one));
    if (aged.size() == std::size_t(most)) return true;
  }
  return false;
}

Result<void> State::Impl::learn(Batch& batch, const SessionResult& result, std::optional<layout::DeviceValue>& device) {
  const std::string& id = result.intent.device;
  if (result.quote_key) {
    const PublicKey& key = *result.quote_key;
    GH_TRY(const KeyJudgement now, judge(batch, id, device ? &*device : nullptr, key));
    const bool certified = result.key_certified &&
                           (now.standing == KeyStanding::unknown || now.standing == KeyStanding::pending);
    if (now.standing != KeyStanding::trusted && !certified)
      return fail(Error{Fault::denied, "the AK that made the quote isn't trusted any longer", "spec part 2 5.2", 0, {},
                        now.reason});
  }
  if (result.pending_key) GH_CHECK(note_pending(batch, result, *result.pending_key, device));
  GH_CHECK(learn_files(batch, result));
  if (!result.quote_key) return {};
  const PublicKey& key = *result.quote_key;
  if (device) {
    const std::uint64_t changes = device->device.changes, next_baseline = device->next_baseline;
    for (DeviceKey& recorded : device->device.keys) {
      if (recorded.key_id != key.key_id() || !recorded.pin.empty() || recorded.state != KeyState::trusted) continue;
      recorded.pin = key.pin();
      recorded.spki = key.spki();
      note(batch, *device, by_session(result), "AK " + recorded.key_id + " pinned by its first quote");
    }
    if (result.proposed_baseline) GH_CHECK(propose(batch, *device, result));
    // What is noted of it counts as a change.
    if (device->device.changes != changes || device->next_baseline != next_baseline) GH_CHECK(put_device(batch, *device));
  }
  if (result.quote) {
    std::string last_place = layout::quote_key(key.pin());
    GH_TRY(const RowPtr row, batch.look_up(last_place));
    bool newer = true;
    if (row->text()) {
      GH_TRY(const auto last, layout::decode_quote(*row->text()));
      newer = follows(last, *result.quote);
    }
    // Sessions of one key may end in another order than their quotes were made.
    if (newer) batch.put(std::move(last_place), layout::encode(*result.quote));
  }
  return {};
}

// Of enrolled devices only: another name costs nothing, and a claimed Device ID skips nothing.
Result<void> State::Impl::note_items(Batch& batch, const SessionResult& result) {
  if (result.items.size() > max_items) return fail(Fault::internal, "more than 256 policy items in a session");
  const SessionIntent& intent = result.intent;
  for (const ItemResult& item : result.items) {
    if (!acceptable_device_id(item.policy)) return fail(Fault::internal, "not a policy's name");
    StoredItemResult stored{.result = item,
                            .time = std::max<std::int64_t>(result.finished, 0),
                            .session = intent.session,
                            .identity = intent.identity,
                            .identity_type = intent.identity_type,
                            .key_pin = {}};
    stored.result.text.resize(std::min(stored.result.text.size(), max_item_text));
    if (result.quote_key) stored.key_pin = result.quote_key->pin();
    // A grace period begins with the first result that isn't compliant, whoever it came from; only who is authenticated
    // ends one.
    std::string place = layout::item_result_key(intent.device, item.policy);
    GH_TRY(const RowPtr row, batch.look_up(place));
    if (row->text()) {
      GH_TRY(const StoredItemResult before, layout::decode_item_result(*row->text()));
      stored.failing_since = before.failing_since;
    }
    const bool bad = item.evaluation == pipeline::Evaluation::minor || item.evaluation == pipeline::Evaluation::major;
    if (bad && !stored.failing_since) stored.failing_since = stored.time;
    if (item.evaluation == pipeline::Evaluation::compliant && (!intent.identity_type.empty() || result.quote_key)) stored.failing_since.reset();
    batch.put(std::move(place), layout::encode(stored));
  }
  return {};
}

Result<void> State::Impl::propose(Batch& batch, layout::DeviceValue& device, const SessionResult& result) {
  const std::string& id = device.device.id;
  std::optional<StoredBaseline> same;
  std::vector<std::uint64_t> candidates;
  GH_CHECK(each_baseline(batch, device, [&](std::uint64_t number, std::string_view record) -> Result<void> {
    GH_TRY(auto head, layout::decode_baseline_head(record, number));
    if (head.record.state == BaselineState::candidate) candidates.push_back(number);
    if (layout::is_content_of(head.content, *result.proposed_baseline)) same = std::move(head.record);
    return {};
  }));
  bool announced = false;
  if (const std::string& model = device.device.model; !model.empty()) {
    // What an announced update makes of an approved one is approved.
    GH_TRY(const auto all, baselines_of(batch, device));
    GH_TRY(const auto expected, expected_baselines(batch, model, now(), all));
    announced = std::find(expected.begin(), expected.end(), *result.proposed_baseline) != expected.end();
  }
  if (same && !announced) return {};
  const StoredBaseline next{.number = same ? same->number : device.next_baseline++,
                      .state = announced ? BaselineState::approved : BaselineState::candidate,
                      .session = same ? same->session : result.intent.session,
                      .since = now(),
                      .baseline = *result.proposed_baseline};
  if (announced)
    note(batch, device, by_session(result), "baseline " + std::to_string(next.number) + " approved: an update that was announced for the model " + device.device.model);
  else
    for (std::size_t i = 0; i + max_candidates <= candidates.size(); ++i) batch.erase(layout::baseline_key(id, candidates[i]));
  batch.put(layout::baseline_key(id, next.number), layout::encode(next));
  return {};
}

Result<void> State::Impl::note_pending(Batch& batch, const SessionResult& result, const SeenKey& seen, std::optional<layout::DeviceValue>& device) {
  const std::string& id = result.intent.device;
  if (!acceptable_device_id(id)) return {};
  GH_TRY(const KeyJudgement now, judge(batch, id, device ? &*device : nullptr, seen.key));
  if (now.standing != KeyStanding::unknown) return {};
  if (device) {
    const auto& keys = device->device.keys;
    const auto pending = std::count_if(keys.begin(), keys.end(),
                                       [](const DeviceKey& key) { return key.state == KeyState::pending; });
    if (std::size_t(pending) >= options.max_pending_keys) return {};
  } else if (batch.tallies.pending_devices >= options.max_pending_devices) {
    return {};
  }
  if (!rate.take(this->now())) return {};
  if (!device) {
    device.emplace();
    device->device.id = id;
    device->device.product = escaped(result.intent.product, 256);
    device->device.created = device->device.state_since = this->now();
    GH_TRY(device->device.changes, last_change(batch, id));
    ++batch.tallies.pending_devices;
  }
  device->device.keys.push_back({.state = KeyState::pending,
                                 .source = KeySource::session,
                                 .key_id = seen.key.key_id(),
                                 .pin = seen.key.pin(),
                                 .spki = seen.key.spki(),
                                 .object_attributes = seen.object_attributes,
                                 .name_algorithm = seen.name_algorithm,
                                 .qualified_name = {},
                                 .since = this->now()});
  note(batch, *device, by_session(result), "AK " + seen.key.key_id() + " seen, it waits");
  return put_device(batch, *device);
}

}  // namespace gatehouse::server
