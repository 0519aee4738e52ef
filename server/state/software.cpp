// Software staged by sessions and applied with their results. A result that brings a whole inventory is written in many
// steps: the staged set is compared with the installed one block by block, what is gone is written down, and the last
// write switches to the staged set together with the result record. Until then nobody sees any of it.
#include <algorithm>

#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t block_items = 2048, block_bytes = std::size_t(1) << 20;  // of each set, in one step
constexpr std::size_t full_batch = std::size_t(8) << 20;
constexpr std::size_t max_examples = 32;

// Erases the keys from `begin` to before `end`, all of which begin with `prefix` and of which there are about `count`.
// A few are erased one by one: marks of ranges slow reads down until they are compacted away.
Result<void> erase_keys(Batch& batch, const std::string& prefix, const std::string& begin, const std::string& end,
                        std::uint64_t count) {
  if (count > 4096) {
    batch.erase_range(begin, end);
    return {};
  }
  std::vector<std::string> keys;
  GH_CHECK(batch.each(prefix, begin, [&](std::string_view key, auto) {
    if (key >= end) return false;
    keys.emplace_back(key);
    return true;
  }));
  for (const std::string& key : keys) batch.erase(key);
  return {};
}
Result<void> erase_installed(Batch& batch, const std::string& device, std::uint64_t generation, std::uint64_t count) {
  const std::string prefix = layout::installed_prefix(device, generation);
  return erase_keys(batch, prefix, prefix, layout::installed_prefix(device, generation + 1), count);
}
Result<void> erase_pieces(Batch& batch, std::uint64_t pieces, std::uint64_t count) {
  const std::string events = layout::staged_event_prefix(pieces), tags = layout::staged_tag_prefix(pieces);
  GH_CHECK(erase_keys(batch, events, events, layout::staged_event_prefix(pieces + 1), count));
  return erase_keys(batch, tags, tags, layout::staged_tag_prefix(pieces + 1), count);
}

Result<void> check_text(std::string_view id, std::string_view locator) {
  if (id.empty() || id.find('\0') != std::string_view::npos)
    return fail(Fault::malformed, "a software identifier is empty or holds a NUL", "RFC 8412 5.4");
  if (id.size() > max_software_text || locator.size() > max_software_text)
    return fail(Fault::limit, "a software identifier or locator is longer than 4,096 bytes", "spec part 1b 10.1");
  return {};
}

// Checks a chunk, and says how many bytes of an inventory and of other pieces it has.
struct ChunkSize {
  std::size_t installed = 0, events = 0, tags = 0;
};
Result<ChunkSize> measure(const SoftwareChunk& chunk) {
  constexpr std::size_t fixed = 64;  // numbers and lengths of a key and a value
  ChunkSize out;
  if (chunk.installed.size() + chunk.events.size() + chunk.tags.size() > max_chunk_items)
    return fail(Fault::limit, "a chunk of software has more than 4,096 items");
  for (const SoftwareRecord& one : chunk.installed) {
    GH_CHECK(check_text(one.software_id, one.locator));
    out.installed += fixed + chunk.device.size() + one.software_id.size() + one.locator.size();
  }
  for (const SoftwareEvent& one : chunk.events) {
    GH_CHECK(check_text(one.record.software_id, one.record.locator));
    if (name(one.action) == "unknown") return fail(Fault::malformed, "unknown action of an event", "RFC 8412 5.9");
    out.events += fixed + one.record.software_id.size() + one.record.locator.size();
  }
  for (const SoftwareTag& one : chunk.tags) {
    GH_CHECK(check_text(one.software_id, {}));
    if (one.content.size() > max_tag_bytes)
      return fail(Fault::limit, "a tag is larger than 4 MiB", "spec part 1b 10.1");
    out.tags += fixed + one.software_id.size() + one.content.size();
  }
  if (out.installed + out.events + out.tags > max_chunk_bytes)
    return fail(Fault::limit, "a chunk of software is larger than 8 MiB");
  return out;
}

// Whether the session proved that it speaks for the device.
bool proves(const Device& device, const SessionResult& result) {
  if (!device.enrolled) return false;
  if (result.quote_key) return true;  // finish() judges it
  const std::string& identity = result.intent.identity;
  return !identity.empty() &&
         std::find(device.identities.begin(), device.identities.end(), identity) != device.identities.end();
}

// The next keys of one number, by place.
struct Block {
  std::vector<std::pair<std::string, std::string>> items;
  bool end = true;  // there are no more
};
Result<Block> read_block(const StoreView& view, const std::string& prefix, const std::string& after) {
  Block out;
  std::size_t bytes = 0;
  GH_CHECK(view.each(prefix, after.empty() ? prefix : prefix + after + '\0',
                     [&](std::string_view key, std::string_view value) {
                       out.end = out.items.size() < block_items && bytes < block_bytes;
                       if (!out.end) return false;
                       bytes += key.size() + value.size();
                       out.items.emplace_back(key.substr(prefix.size()), value);
                       return true;
                     }));
  return out;
}

std::uint32_t after(std::uint32_t eid) { return eid == UINT32_MAX ? eid : eid + 1; }

}  // namespace

std::string_view name(SoftwareAction action) {
  switch (action) {
    case SoftwareAction::creation:
      return "creation";
    case SoftwareAction::deletion:
      return "deletion";
    case SoftwareAction::alteration:
      return "alteration";
  }
  return "unknown";
}

// --- staging

std::uint64_t State::Impl::next_number(Batch& batch) {
  batch.put(layout::counter_key, layout::number64(++numbers));
  return numbers;
}

void State::Impl::erase_staged(Batch& batch, const layout::StagingValue& value) {
  if (value.generation != 0)
    batch.erase_range(layout::installed_prefix(value.device, value.generation),
                      layout::installed_prefix(value.device, value.generation + 1));
  if (value.change != 0)
    batch.erase_range(layout::ended_prefix(value.device, value.change),
                      layout::ended_prefix(value.device, value.change + 1));
  if (value.pieces != 0) {
    batch.erase_range(layout::staged_event_prefix(value.pieces), layout::staged_event_prefix(value.pieces + 1));
    batch.erase_range(layout::staged_tag_prefix(value.pieces), layout::staged_tag_prefix(value.pieces + 1));
  }
}

Result<void> State::Impl::stage(Batch& batch, const SoftwareChunk& chunk) {
  if (!acceptable_session_id(chunk.session)) return fail(Fault::internal, "not a session id");
  GH_TRY(const ChunkSize size, measure(chunk));
  GH_TRY(const auto device, read_device(batch, chunk.device));
  if (!device || !device->device.enrolled) return {};
  const auto known = staged.find(chunk.session);
  Staging next = known == staged.end() ? Staging{} : known->second;
  if (known != staged.end() && (next.value.device != chunk.device || next.value.change != 0))
    return fail(Fault::internal, "a session stages software of one device, until its result is committed");
  std::size_t total = staged_bytes - next.installed_bytes - next.piece_bytes;
  next.value.device = chunk.device;
  if (chunk.restart_installed) {
    if (next.value.generation != 0)
      GH_CHECK(erase_installed(batch, chunk.device, next.value.generation, next.installed));
    next.value.generation = next.installed = next.installed_bytes = 0;
  }
  if (chunk.restart_events) {
    // Tags go with them: they are asked for after the events.
    if (next.value.pieces != 0) GH_CHECK(erase_pieces(batch, next.value.pieces, next.pieces));
    next.value.pieces = next.events = next.pieces = next.piece_bytes = 0;
  }
  next.installed += chunk.installed.size();
  next.installed_bytes += size.installed;
  next.events += chunk.events.size();
  next.pieces += chunk.events.size() + chunk.tags.size();
  next.piece_bytes += size.events + size.tags;
  total += next.installed_bytes + next.piece_bytes;
  if (next.installed > options.max_installed || next.installed_bytes > options.max_staged_bytes)
    return fail(Fault::limit, "the software inventory is larger than allowed", "spec part 1b 10.1");
  if (next.piece_bytes > options.max_staged_event_bytes)
    return fail(Fault::limit, "more software events and tags than a session may bring", "spec part 1b 10.1");
  if (total > options.max_staged_total)
    return fail(Fault::limit, "the sessions have staged too much software together");

  if (!chunk.installed.empty() && next.value.generation == 0) next.value.generation = next_number(batch);
  if (chunk.events.size() + chunk.tags.size() != 0 && next.value.pieces == 0) next.value.pieces = next_number(batch);
  const std::int64_t time = now();
  const std::string installed = layout::installed_prefix(chunk.device, next.value.generation);
  for (const SoftwareRecord& one : chunk.installed)
    batch.put(installed + layout::place_of(one),
              layout::encode(layout::InstalledValue{.first_seen = time, .since = time, .locator = one.locator}));
  const std::string events = layout::staged_event_prefix(next.value.pieces);
  for (const SoftwareEvent& one : chunk.events)
    batch.put(events + layout::place_of(one), layout::encode(layout::EventValue{one.time, one.record.locator}));
  const std::string tags = layout::staged_tag_prefix(next.value.pieces);
  for (const SoftwareTag& one : chunk.tags) {
    std::string key = tags + std::string(1, char(one.source)) + one.software_id + '\0';
    if (!one.content.empty()) key += as_text(digest_of(HashAlgorithm::sha256, one.content).view());
    batch.put(key, layout::encode(StoredTag{one.data_model, time, chunk.device, one.content}));
  }
  // With each chunk: a write that failed must not leave staged software that nothing names.
  batch.put(layout::staging_key(chunk.session), layout::encode(next.value));
  staged_bytes = total;
  staged[chunk.session] = std::move(next);
  return {};
}

Result<void> State::Impl::drop(Batch& batch, const std::string& session) {
  const auto found = staged.find(session);
  if (found == staged.end()) return {};
  const Staging& one = found->second;
  if (one.value.generation != 0)
    GH_CHECK(erase_installed(batch, one.value.device, one.value.generation, one.installed));
  if (one.value.pieces != 0) GH_CHECK(erase_pieces(batch, one.value.pieces, one.pieces));
  if (one.value.change != 0) erase_staged(batch, {.device = one.value.device, .change = one.value.change});
  batch.erase(layout::staging_key(session));
  staged_bytes -= one.installed_bytes + one.piece_bytes;
  staged.erase(found);
  return {};
}

Result<void> State::Impl::forget_software(Batch& batch, const std::string& device) {
  std::vector<std::string> sessions;
  for (const auto& [session, one] : staged)
    if (one.value.device == device) sessions.push_back(session);
  for (const std::string& session : sessions) GH_CHECK(drop(batch, session));
  GH_TRY(const auto head, read_head(batch, device));
  if (!head) return {};
  batch.erase(layout::head_key(device));
  batch.erase(layout::inventory_time_key(device));
  // Numbers that are given later are greater.
  batch.erase_range(layout::installed_prefix(device, 0), layout::installed_prefix(device, numbers + 1));
  batch.erase_range(layout::ended_prefix(device, 0), layout::ended_prefix(device, numbers + 1));
  batch.erase_range(layout::change_key(device, 0), layout::change_key(device, numbers + 1));
  batch.erase_range(layout::event_prefix(device, 0), layout::event_prefix(device, numbers + 1));
  return {};
}

// --- applying

Result<void> State::Impl::apply(Batch& batch, Apply& work) {
  const SessionResult& result = work.result;
  if (!work.started) {
    GH_TRY(const auto device, read_device(batch, result.intent.device));
    const auto found = staged.find(result.intent.session);
    const Staging none, &has = found == staged.end() ? none : found->second;
    if (!device || !proves(device->device, result) || has.installed != result.software->staged_installed ||
        has.events != result.software->staged_events) {
      GH_CHECK(drop(batch, result.intent.session));
      return finish(batch, result);
    }
    // One after another for a device; whoever has it is in the queue too, so this ends.
    if (applying.contains(result.intent.device)) {
      batch.call_again();
      return {};
    }
    GH_CHECK(begin_apply(batch, work));
  }
  if (!staged.contains(result.intent.session)) return finish(batch, result);  // the device was removed meanwhile
  if (!work.merged) {
    GH_CHECK(merge_inventory(batch, work));
    batch.call_again();
    return {};
  }
  if (batch.bytes() > full_batch) {
    batch.call_again();
    return {};
  }
  GH_CHECK(end_apply(batch, work));
  return finish(batch, result);
}

void State::Impl::applied(const Apply& work, bool on_disk) {
  if (!work.started) return;
  applying.erase(work.result.intent.device);
  const auto found = staged.find(work.result.intent.session);
  if (!on_disk || found == staged.end()) return;  // a result that was refused may come again
  staged_bytes -= found->second.installed_bytes + found->second.piece_bytes;
  staged.erase(found);
}

Result<void> State::Impl::begin_apply(Batch& batch, Apply& work) {
  const SessionIntent& intent = work.result.intent;
  GH_TRY(const auto head, read_head(batch, intent.device));
  if (head) {
    work.base = head->generation;
    work.before = head->head.time;
  }
  layout::StagingValue& value = staged[intent.session].value;
  // Of a result that was refused before.
  if (value.change != 0) erase_staged(batch, {.device = intent.device, .change = value.change});
  value.device = intent.device;
  value.change = work.change = next_number(batch);
  if (work.result.software->inventory && value.generation == 0) value.generation = next_number(batch);
  work.generation = value.generation;
  batch.put(layout::staging_key(intent.session), layout::encode(value));
  work.merged = !work.result.software->inventory;
  work.started = true;
  applying.insert(intent.device);
  return {};
}

// The next block of both sets, in order of their places: what stays keeps its history, what is gone gets an end.
Result<void> State::Impl::merge_inventory(Batch& batch, Apply& work) {
  const std::string& device = work.result.intent.device;
  const std::string staged_prefix = layout::installed_prefix(device, work.generation);
  GH_TRY(const Block fresh, read_block(batch, staged_prefix, work.place));
  // Generation 0 has no keys: the first inventory has nothing to be compared with.
  GH_TRY(const Block old, read_block(batch, layout::installed_prefix(device, work.base), work.place));
  // Up to where both blocks are known.
  std::optional<std::string> bound;
  for (const Block* block : {&fresh, &old})
    if (!block->end && (!bound || block->items.back().first < *bound)) bound = block->items.back().first;
  const std::int64_t time = std::max(now(), work.before);
  auto is = fresh.items.begin(), was = old.items.begin();
  const auto within = [&](auto at, const Block& block) {
    return at != block.items.end() && (!bound || at->first <= *bound);
  };
  while (within(is, fresh) || within(was, old)) {
    if (within(is, fresh) && (!within(was, old) || is->first < was->first)) {
      ++work.installed;
      ++work.added;
      ++is;
      continue;
    }
    GH_TRY(layout::InstalledValue before, layout::decode_installed(was->second));
    if (within(is, fresh) && is->first == was->first) {
      GH_TRY(const auto value, layout::decode_installed(is->second));
      if (before.locator != value.locator) ++work.altered;
      before.locator = value.locator;
      batch.put(staged_prefix + is->first, layout::encode(before));
      ++work.installed;
      ++is;
    } else {
      ++work.removed;
      if (work.ended < options.max_software_ended) {
        ++work.ended;
        batch.put(layout::ended_prefix(device, work.change) + was->first,
                  layout::encode(layout::EndedValue{.was = before, .last_seen = work.before, .until = time}));
      } else {
        ++work.not_kept;
      }
    }
    ++was;
  }
  if (bound)
    work.place = *std::move(bound);
  else
    work.merged = true;
  return {};
}

namespace {

// The last step: head, events, tags and the change's record, in one batch.
class Ending {
 public:
  Ending(Batch& batch, const StateOptions& options, const Apply& work, const Staging& staging, std::int64_t time)
      : batch_(batch),
        options_(options),
        work_(work),
        update_(*work.result.software),
        staging_(staging),
        device_(work.result.intent.device),
        time_(time) {}

  Result<void> run() {
    GH_TRY(const auto before, read_head(batch_, device_));
    if (before) head_ = *before;
    time_ = std::max(time_, head_.head.time);
    compare(before.has_value());
    const std::uint64_t were = head_.head.installed;
    if (update_.inventory) {
      head_.generation = work_.generation;
      head_.head.installed = work_.installed;
      if (work_.base != 0) GH_CHECK(erase_installed(batch_, device_, work_.base, were));
    } else if (staging_.value.generation != 0) {
      GH_CHECK(erase_installed(batch_, device_, staging_.value.generation, staging_.installed));
    }
    if (update_.events && staging_.value.pieces != 0) GH_CHECK(take_events());
    if (staging_.value.pieces != 0) {
      GH_CHECK(take_tags());
      GH_CHECK(erase_pieces(batch_, staging_.value.pieces, staging_.pieces));
    }
    write_head();
    GH_CHECK(write_change());
    batch_.put(layout::head_key(device_), layout::encode(head_));
    if (update_.inventory) batch_.put(layout::inventory_time_key(device_), layout::number64(std::uint64_t(work_.result.intent.started)));
    batch_.erase(layout::staging_key(work_.result.intent.session));
    return {};
  }

 private:
  void compare(bool known) {
    SoftwareChange& change = record_.change;
    change.time = time_;
    change.session = work_.result.intent.session;
    change.inventory = update_.inventory;
    change.events = update_.events;
    change.first = !known;
    change.epoch_changed = known && update_.epoch != head_.head.epoch;
    change.rolled_back = known && !change.epoch_changed && update_.last_eid < head_.head.last_eid;
    change.epoch = update_.epoch;
    change.last_eid = update_.last_eid;
    change.previous_epoch = head_.head.epoch;
    change.previous_eid = head_.head.last_eid;
    change.added = work_.added;
    change.removed = work_.removed;
    change.altered = work_.altered;
    change.not_kept = work_.not_kept;
    record_.ended = work_.ended;
    new_era_ = change.first || change.epoch_changed || change.rolled_back;
    if (new_era_) head_.era = work_.change;
    record_.era = head_.era;
    applies_ = update_.events && !update_.inventory && !new_era_ && head_.head.complete;
  }

  Result<void> take_events() {
    const std::string prefix = layout::staged_event_prefix(staging_.value.pieces);
    std::vector<SoftwareEvent> events;
    Result<void> read{};
    GH_CHECK(batch_.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      read = [&]() -> Result<void> {
        GH_TRY(SoftwareEvent event, layout::event_at(key.substr(prefix.size())));
        GH_TRY(layout::EventValue rest, layout::decode_event(value));
        event.time = rest.time;
        event.record.locator = std::move(rest.locator);
        events.push_back(std::move(event));
        return {};
      }();
      return read.has_value();
    }));
    GH_CHECK(read);
    std::vector<SoftwareEvent> of_one;  // events of one EID and one instance, which the order of keys puts side by side
    for (SoftwareEvent& event : events) {
      GH_TRY(const bool fresh, keep(event));
      if (!fresh || !applies_) continue;
      if (!of_one.empty() && (of_one.front().eid != event.eid ||
                              layout::place_of(of_one.front().record) != layout::place_of(event.record))) {
        GH_CHECK(apply(of_one));
        of_one.clear();
      }
      of_one.push_back(std::move(event));
    }
    if (!of_one.empty()) GH_CHECK(apply(of_one));
    return {};
  }

  // Writes the event down; false: it was told before, or contradicts what was.
  Result<bool> keep(const SoftwareEvent& event) {
    SoftwareChange& change = record_.change;
    const auto contradicts = [&] {
      ++change.inconsistent;
      if (change.examples.size() < max_examples) change.examples.push_back(event);
      return false;
    };
    if (event.eid == 0 || event.eid > update_.last_eid) return contradicts();
    const std::string key = layout::event_prefix(device_, head_.era) + layout::place_of(event);
    if (!new_era_ && event.eid <= head_.head.last_eid) {
      if (event.eid < head_.events_from) return false;  // what was told then isn't kept
      GH_TRY(const auto told, batch_.read(key));
      if (!told) return contradicts();
      GH_TRY(const auto value, layout::decode_event(*told));
      return value.time == event.time ? false : contradicts();
    }
    if (record_.events >= options_.max_software_events) {
      ++change.not_kept;
      forgot_events_ = true;
      return true;
    }
    batch_.put(key, layout::encode(layout::EventValue{event.time, event.record.locator}));
    if (record_.events++ == 0) record_.first_eid = event.eid;
    record_.last_kept_eid = event.eid;
    return true;
  }

  // An EID is a set (spec part 1b §5.4): an instance created and deleted under one EID is where it was before.
  Result<void> apply(const std::vector<SoftwareEvent>& of_one) {
    const SoftwareEvent& last = of_one.back();
    const auto has = [&](SoftwareAction action) {
      return std::any_of(of_one.begin(), of_one.end(), [&](const SoftwareEvent& e) { return e.action == action; });
    };
    const bool created = has(SoftwareAction::creation), deleted = has(SoftwareAction::deletion);
    const std::string installed = layout::installed_prefix(device_, head_.generation);
    std::string key = installed + layout::place_of(last.record);
    GH_TRY(auto value, batch_.read(key));
    if (created && deleted && !value) return {};
    if (deleted && !created) {
      if (!value) {
        GH_TRY(value, only_instance(last.record, key));
      }
      if (value) return end(key, *value, last);
      return {};
    }
    layout::InstalledValue now{
        .first_seen = time_, .since = claimed(last.time), .eid = last.eid, .locator = last.record.locator};
    if (value) {
      GH_TRY(const auto before, layout::decode_installed(*value));
      now.first_seen = before.first_seen;
      now.since = before.since;
      ++record_.change.altered;
    } else if (head_.head.installed >= options_.max_installed) {
      ++record_.change.not_kept;
      overflown_ = true;
      return {};
    } else {
      ++record_.change.added;
      ++head_.head.installed;
    }
    batch_.put(key, layout::encode(now));
    return {};
  }

  // An endpoint whose inventories and events number their records differently still names one instance.
  Result<std::optional<std::string>> only_instance(const SoftwareRecord& record, std::string& key) {
    std::string prefix = layout::installed_prefix(device_, head_.generation) + layout::place_of(record);
    prefix.resize(prefix.size() - 4);
    std::optional<std::string> out;
    std::size_t found = 0;
    GH_CHECK(batch_.each(prefix, prefix, [&](std::string_view at, std::string_view value) {
      key = at;
      out = std::string(value);
      return ++found < 2;
    }));
    return found == 1 ? out : std::nullopt;
  }

  Result<void> end(const std::string& key, const std::string& value, const SoftwareEvent& event) {
    GH_TRY(const auto was, layout::decode_installed(value));
    const std::string place = key.substr(layout::installed_prefix(device_, head_.generation).size());
    batch_.erase(key);
    --head_.head.installed;
    ++record_.change.removed;
    if (record_.ended >= options_.max_software_ended) {
      ++record_.change.not_kept;
      return {};
    }
    const std::string ended = layout::ended_prefix(device_, work_.change) + place;
    GH_TRY(const auto twice, batch_.read(ended));
    if (!twice) ++record_.ended;  // it may come and go more than once in a session: the last time is kept
    batch_.put(ended, layout::encode(layout::EndedValue{.was = was,
                                                        .last_seen = std::max(was.first_seen, head_.head.time),
                                                        .until = std::max(was.since, claimed(event.time))}));
    return {};
  }

  // The endpoint's clock, held between the last time that it told and now: the event must lie there.
  std::int64_t claimed(std::int64_t time) const { return std::clamp(time, head_.head.time, time_); }

  Result<void> take_tags() {
    const std::string prefix = layout::staged_tag_prefix(staging_.value.pieces);
    std::vector<std::pair<std::string, std::string>> tags;
    GH_CHECK(batch_.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      tags.emplace_back(key.substr(prefix.size()), value);
      return true;
    }));
    for (const auto& [place, value] : tags) {
      const std::size_t nul = place.find('\0', 1);  // after the source, which may be 0
      if (nul == std::string::npos) continue;
      if (place.size() == nul + 1)
        GH_CHECK(note_refused(place));
      else
        GH_CHECK(take_tag(place.substr(1, nul - 1), place.substr(nul + 1), value));
    }
    return {};
  }

  Result<void> take_tag(const std::string& software_id, const std::string& digest, const std::string& value) {
    const std::string versions = layout::tag_prefix(software_id), key = versions + digest;
    std::size_t stored = 0;
    bool known = false;
    GH_CHECK(batch_.each(versions, versions, [&](std::string_view one, auto) {
      known = known || one == key;
      return ++stored < options_.max_tag_versions;
    }));
    if (!known && stored < options_.max_tag_versions) batch_.put(key, value);
    return {};
  }

  // `place` is a source, an identifier and a NUL.
  Result<void> note_refused(const std::string& place) {
    const std::string prefix = layout::installed_prefix(device_, head_.generation) + place;
    std::vector<std::pair<std::string, std::string>> instances;
    GH_CHECK(batch_.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
      instances.emplace_back(key, value);
      return instances.size() < max_examples;
    }));
    for (const auto& [key, value] : instances) {
      GH_TRY(layout::InstalledValue one, layout::decode_installed(value));
      one.no_tag = true;
      batch_.put(key, layout::encode(one));
    }
    return {};
  }

  void write_head() {
    SoftwareHead& head = head_.head;
    if (update_.inventory)
      head.complete = true;
    else if ((update_.events && new_era_) || overflown_)
      head.complete = false;
    // An inventory says nothing of the events before it, and an epoch's first answer may have left some out.
    const bool unknown_between = new_era_ || forgot_events_ || (update_.inventory && update_.last_eid != head.last_eid);
    if (unknown_between) head_.events_from = after(update_.last_eid);
    head.epoch = update_.epoch;
    head.last_eid = update_.last_eid;
    head.time = time_;
    head.session = work_.result.intent.session;
  }

  // A session that changed nothing leaves no record but the head's time.
  Result<void> write_change() {
    const SoftwareChange& change = record_.change;
    const bool changed = new_era_ || record_.events != 0 || change.added + change.removed + change.altered != 0 ||
                         change.not_kept + change.inconsistent != 0;
    if (!changed) return {};
    batch_.put(layout::change_key(device_, work_.change), layout::encode(record_));
    if (head_.oldest_change == 0) head_.oldest_change = work_.change;
    ++head_.changes;
    head_.head.events += record_.events;
    head_.ended += record_.ended;
    while (head_.oldest_change != work_.change &&
           (head_.changes > options_.max_software_changes || head_.head.events > options_.max_software_events ||
            head_.ended > options_.max_software_ended))
      GH_CHECK(forget_oldest());
    return {};
  }

  Result<void> forget_oldest() {
    const std::uint64_t number = head_.oldest_change;
    const std::string key = layout::change_key(device_, number), prefix = layout::change_prefix(device_);
    GH_TRY(const auto value, batch_.read(key));
    if (value) {
      GH_TRY(const auto gone, layout::decode_change(*value));
      const std::string ended = layout::ended_prefix(device_, number);
      if (gone.ended != 0)
        GH_CHECK(erase_keys(batch_, ended, ended, layout::ended_prefix(device_, number + 1), gone.ended));
      if (gone.events != 0) {
        const std::string events = layout::event_prefix(device_, gone.era);
        const std::string end = gone.last_kept_eid == UINT32_MAX ? layout::event_prefix(device_, gone.era + 1)
                                                                 : events + layout::number32(gone.last_kept_eid + 1);
        GH_CHECK(erase_keys(batch_, events, events + layout::number32(gone.first_eid), end, gone.events));
        if (gone.era == head_.era) head_.events_from = std::max(head_.events_from, after(gone.last_kept_eid));
      }
      head_.head.events -= std::min(head_.head.events, gone.events);
      head_.ended -= std::min(head_.ended, gone.ended);
      --head_.changes;
      batch_.erase(key);
    }
    std::uint64_t next = work_.change;
    GH_CHECK(batch_.each(prefix, layout::change_key(device_, number + 1), [&](std::string_view found, auto) {
      next = layout::read_number64(found.substr(prefix.size()));
      return false;
    }));
    head_.oldest_change = next;
    return {};
  }

  Batch& batch_;
  const StateOptions& options_;
  const Apply& work_;
  const SoftwareUpdate& update_;
  const Staging& staging_;
  const std::string& device_;
  std::int64_t time_;
  layout::HeadValue head_;
  layout::ChangeValue record_;
  bool new_era_ = false;        // the first answer, another epoch, or one that went back
  bool applies_ = false;        // events change the installed set
  bool forgot_events_ = false;  // some weren't kept
  bool overflown_ = false;      // the installed set is larger than allowed
};

}  // namespace

Result<void> State::Impl::end_apply(Batch& batch, Apply& work) {
  return Ending(batch, options, work, staged.at(work.result.intent.session), now()).run();
}

void State::stage_software(SoftwareChunk chunk, Completion completion) {
  const auto size = measure(chunk);
  impl_->store->submit([this, chunk = std::move(chunk)](Batch& batch) { return impl_->stage(batch, chunk); },
                       std::move(completion), size ? size->installed + size->events + size->tags : 0);
}

void State::drop_software(std::string session) {
  impl_->store->submit(
      [this, session = std::move(session)](Batch& batch) -> Result<void> {
        if (const auto found = impl_->staged.find(session); found != impl_->staged.end() &&
                                                            found->second.value.change != 0 &&
                                                            impl_->applying.contains(found->second.value.device))
          return {};  // its result is on its way
        return impl_->drop(batch, session);
      },
      [](Result<void>) {});
}

}  // namespace gatehouse::server
