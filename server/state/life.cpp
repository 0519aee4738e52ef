// The life cycle of devices, with its history; leases, and firmware changes that go to a whole model.
#include "server/state/life.h"

#include <algorithm>

#include "base/hex.h"
#include "pipeline/verdict/verdict.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t max_by = 256, max_why = 1024, max_left = 1'000, max_announcements = 64;
constexpr std::size_t devices_a_write = 200, most_looked_at = 4'096;
constexpr std::int64_t longest_announcement_ms = std::int64_t(366) * 24 * 3600 * 1000;

bool printable(const std::string& text, std::size_t most) { return text.size() <= most && escaped(text, most) == text; }

std::unexpected<Error> unknown_device(const std::string& id) {
  return fail(Error{Fault::denied, "no such device", {}, 0, escaped(id, 256), {}});
}

// The baseline that is looked at, and the newest approved one of its bank that it is held against: of one that is
// approved already, what was approved before it.
struct Compared {
  StoredBaseline measured, approved;
};
Result<std::optional<Compared>> compared(const StoreView& view, const std::string& device, std::optional<std::uint64_t> number) {
  GH_TRY(const auto all, read_baselines(view, device));
  const StoredBaseline *measured = nullptr, *approved = nullptr;
  for (const StoredBaseline& one : all)
    if (number ? one.number == *number : one.state == BaselineState::candidate) measured = &one;
  if (measured == nullptr) return std::nullopt;
  for (const StoredBaseline& one : all)
    if (&one != measured && one.state == BaselineState::approved && one.baseline.bank == measured->baseline.bank) approved = &one;
  if (approved == nullptr && measured->state == BaselineState::approved)
    for (const StoredBaseline& one : all)
      if (one.number < measured->number && one.state == BaselineState::retired && one.baseline.bank == measured->baseline.bank) approved = &one;
  if (approved == nullptr) return std::nullopt;
  return Compared{*measured, *approved};
}

}  // namespace

std::string_view name(DeviceState state) {
  switch (state) {
    case DeviceState::pending: return "pending";
    case DeviceState::trusted: return "trusted";
    case DeviceState::suspended: return "suspended";
    case DeviceState::revoked: return "revoked";
    case DeviceState::retired: return "retired";
  }
  return "unknown";
}

std::optional<DeviceState> device_state(std::string_view name_of_it) {
  for (const DeviceState state : {DeviceState::pending, DeviceState::trusted, DeviceState::suspended, DeviceState::revoked, DeviceState::retired})
    if (name(state) == name_of_it) return state;
  return std::nullopt;
}

bool may_become(DeviceState from, DeviceState to) {
  struct Row {
    DeviceState from, to;
  };
  static constexpr Row rows[] = {
      {DeviceState::trusted, DeviceState::suspended}, {DeviceState::suspended, DeviceState::trusted},
      {DeviceState::pending, DeviceState::retired},   {DeviceState::trusted, DeviceState::retired},
      {DeviceState::suspended, DeviceState::retired}, {DeviceState::revoked, DeviceState::retired},
  };
  return std::any_of(std::begin(rows), std::end(rows), [&](const Row& row) { return row.from == from && row.to == to; });
}

bool bars(DeviceState state) {
  return state == DeviceState::suspended || state == DeviceState::revoked || state == DeviceState::retired;
}

pipeline::Recommendation held_to(DeviceState state) {
  return state == DeviceState::revoked || state == DeviceState::retired ? pipeline::Recommendation::block : pipeline::Recommendation::isolate;
}

Result<void> check_author(const Author& author, const Device* device) {
  if (!printable(author.by, max_by)) return fail(Fault::usage, "who makes a change is named with up to 256 bytes of printable UTF-8");
  if (!printable(author.why, max_why)) return fail(Fault::usage, "a reason is up to 1,024 bytes of printable UTF-8");
  if (author.expected && (device != nullptr ? device->changes : 0) != *author.expected)
    return fail(Error{Fault::denied, "the device was changed meanwhile: look at it again", {}, 0, device != nullptr ? device->id : std::string(),
                      "its number of changes is " + std::to_string(device != nullptr ? device->changes : 0)});
  return {};
}

// --- history

void State::Impl::note(Batch& batch, layout::DeviceValue& value, const Author& author, std::string what) {
  Device& device = value.device;
  const HistoryEntry entry{.number = ++device.changes, .time = now(), .state = device.state, .by = author.by, .what = std::move(what), .why = author.why};
  batch.put(layout::history_key(device.id, entry.number), layout::encode(entry));
  if (entry.number > max_history) batch.erase(layout::history_key(device.id, entry.number - max_history));
}

void State::Impl::set_state(Batch& batch, layout::DeviceValue& value, DeviceState to, const Author& author, const std::string& what) {
  value.device.state = to;
  value.device.state_since = now();
  note(batch, value, author, "state " + std::string(name(to)) + (what.empty() ? "" : ", " + what));
}

Result<std::uint64_t> last_change(const StoreView& view, std::string_view device) {
  const std::string prefix = layout::history_prefix(device);
  std::uint64_t last = 0;
  std::string behind = prefix;
  ++behind.back();  // the prefix's successor: it ends with NUL
  GH_CHECK(view.each_backwards(prefix, behind, [&](std::string_view key, auto) {
    last = layout::read_number64(key.substr(prefix.size()));
    return false;
  }));
  return last;
}

Result<std::vector<HistoryEntry>> State::history(std::string_view device, std::size_t most) const {
  const std::string prefix = layout::history_prefix(device);
  std::string behind = prefix;
  ++behind.back();
  std::vector<HistoryEntry> out;
  Result<void> read{};
  GH_CHECK(impl_->store->view().each_backwards(prefix, behind, [&](std::string_view key, std::string_view value) {
    if (out.size() == most) return false;
    auto entry = layout::decode_history(value, layout::read_number64(key.substr(prefix.size())));
    if (!entry) read = fail(std::move(entry).error());
    if (entry) out.push_back(*std::move(entry));
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

Result<Device> State::Impl::change_state(Batch& batch, const std::string& id, DeviceState to, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  Device& device = value->device;
  GH_CHECK(check_author(author, &device));
  if (device.state == to) return device;
  if (!may_become(device.state, to))
    return fail(Error{Fault::denied, "the device can't be brought into this state from its own", "docs/operations.md", 0, id,
                      std::string(name(device.state)) + " to " + std::string(name(to))});
  if (!device.enrolled) {
    --batch.tallies.pending_devices;
    device.enrolled = true;
  }
  std::string what;
  if (to == DeviceState::retired) {
    // What is gone doesn't come back by its key.
    for (DeviceKey& key : device.keys) {
      if (key.state == KeyState::revoked) continue;
      key.state = KeyState::revoked;
      key.since = now();
      what += (what.empty() ? "AK " : ", AK ") + key.key_id + " revoked";
    }
  }
  set_state(batch, *value, to, author, what);
  GH_CHECK(put_device(batch, *value));
  return device;
}

// --- leases

Result<std::optional<Attested>> read_attested(const StoreView& view, std::string_view device) {
  GH_TRY(const auto value, view.read(layout::attested_key(device)));
  if (!value) return std::nullopt;
  GH_TRY(Attested attested, layout::decode_attested(*value));
  return attested;
}

namespace {

// Of devices that haven't been assessed since their store was taken over from a format before 5: what their sessions say.
Result<std::optional<Attested>> last_proved(const StoreView& view, Verdicts& verdicts, const Device& device) {
  GH_TRY(const auto recorded, read_attested(view, device.id));
  if (recorded) return recorded;
  constexpr int most = 16;
  const std::string prefix = layout::device_session_prefix(device.id);
  std::string behind = prefix;
  ++behind.back();
  std::optional<Attested> out;
  Result<void> read{};
  int seen = 0;
  GH_CHECK(view.each_backwards(prefix, behind, [&](std::string_view key, auto) {
    if (key.size() < prefix.size() + 8 || ++seen > most) return false;
    read = [&]() -> Result<void> {
      GH_TRY(const auto value, view.read(layout::session_key(key.substr(prefix.size() + 8))));
      if (!value) return {};
      GH_TRY(const SessionRecord record, verdicts.decode(view, *value));
      if (record.state != SessionState::complete || record.intent.key_pin.empty()) return {};
      const auto verdict = pipeline::verdict_from_json(record.verdict);
      if (!verdict || verdict->quote.status != pipeline::Status::ok) return {};
      out = Attested{.time = record.finished, .session = record.intent.session, .recommendation = verdict->recommendation};
      return {};
    }();
    return read.has_value() && !out;
  }));
  GH_CHECK(read);
  return out;
}

}  // namespace

Result<std::optional<Attested>> State::attested(std::string_view device) const {
  const Moment moment(*impl_->store);
  GH_TRY(const auto value, read_device(moment.view, device));
  if (!value) return std::nullopt;
  return last_proved(moment.view, impl_->verdicts, value->device);
}

Result<void> State::Impl::note_attested(Batch& batch, const layout::DeviceValue& value, const SessionResult& result) {
  const Device& device = value.device;
  const SessionIntent& intent = result.intent;
  const bool bound = !intent.identity_type.empty() &&
                     std::find(device.identities.begin(), device.identities.end(), intent.identity) != device.identities.end();
  if (!result.quote_key && !bound) return {};
  GH_TRY(const auto before, read_attested(batch, device.id));
  // The latest is what was committed last, whatever the clock said: it may have been set back.
  Attested now_known{.time = std::max<std::int64_t>(result.finished, 0), .session = intent.session, .recommendation = result.recommendation};
  // Where the end of an earlier lease is looked for, this one's is found: the row isn't moved with each session.
  if (before) now_known.looked_for = before->looked_for;
  if (!now_known.looked_for && result.recommendation == pipeline::Recommendation::allow) {
    now_known.looked_for = now_known.time;
    batch.put(layout::lease_key(now_known.time, device.id), {});
  }
  batch.put(layout::attested_key(device.id), layout::encode(now_known));
  return {};
}

// Whose lease has ended by where it is looked for. That may be an earlier verdict's: then it is looked for again where the
// last one's will end.
Result<std::vector<Lapsed>> State::Impl::lapse(Batch& batch, std::chrono::milliseconds lease, std::size_t most) {
  const std::string prefix(1, layout::lease_letter);
  const std::int64_t clock = now();
  std::vector<std::string> over;
  const auto place = [&](std::string_view key) { return std::int64_t(layout::read_number64(key.substr(1, 8))); };
  GH_CHECK(batch.each(prefix, prefix, [&](std::string_view key, auto) {
    if (key.size() < 9 || over.size() == most_looked_at || lease_holds(place(key), lease.count(), clock)) return false;
    if (place(key) > clock) return false;  // those that lie ahead come below
    over.emplace_back(key);
    return true;
  }));
  GH_CHECK(batch.each(prefix, layout::lease_key(std::max<std::int64_t>(clock + clock_tolerance_ms, 0) + 1, ""), [&](std::string_view key, auto) {
    if (key.size() < 9 || over.size() == most_looked_at) return false;
    over.emplace_back(key);
    return true;
  }));
  std::vector<Lapsed> out;
  for (const std::string& key : over) {
    if (out.size() == most) break;
    batch.erase(key);
    const std::string id = key.substr(9);
    GH_TRY(const auto device, read_device(batch, id));
    GH_TRY(auto last, read_attested(batch, id));
    if (!last || last->looked_for != place(key)) continue;
    const bool allowed = last->recommendation == pipeline::Recommendation::allow, holds = lease_holds(last->time, lease.count(), clock);
    last->looked_for.reset();
    if (allowed && holds) {
      last->looked_for = last->time;
      batch.put(layout::lease_key(last->time, id), {});
    }
    batch.put(layout::attested_key(id), layout::encode(*last));
    if (device && allowed && !holds && device->device.state == DeviceState::trusted) out.push_back({.device = id, .last = *last, .ahead = last->time - clock > clock_tolerance_ms});
  }
  return out;
}

Result<std::vector<OverdueDevice>> State::overdue(std::chrono::milliseconds lease, std::string_view after, std::size_t look,
                                                  std::string& place) const {
  const Moment moment(*impl_->store);
  const std::int64_t clock = impl_->now();
  std::vector<OverdueDevice> out;
  Result<void> read{};
  std::size_t seen = 0;
  place.clear();
  std::string last_id;
  const std::string from = after.empty() ? "d" : layout::device_key(after) + '\0';
  GH_CHECK(moment.view.each("d", from, [&](auto, std::string_view value) {
    if (seen++ == look) {
      place = last_id;
      return false;
    }
    read = [&]() -> Result<void> {
      GH_TRY(auto stored, layout::decode_device(value));
      Device& device = stored.device;
      last_id = device.id;
      if (device.state != DeviceState::trusted) return {};
      GH_TRY(const auto last, last_proved(moment.view, impl_->verdicts, device));
      const std::int64_t since = last ? last->time : device.state_since;
      if (lease_holds(since, lease.count(), clock)) return {};
      out.push_back({.device = std::move(device), .last = last, .due = since + lease.count()});
      return {};
    }();
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

// --- firmware changes of a model

Result<std::vector<Announcement>> read_announcements(const StoreView& view, std::string_view model) {
  const std::string prefix = model.empty() ? std::string(1, layout::announcement_letter) : layout::announcement_prefix(model);
  std::vector<Announcement> out;
  Result<void> read{};
  GH_CHECK(view.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
    auto one = layout::decode_announcement(value, key.size() < 8 ? 0 : layout::read_number64(key.substr(key.size() - 8)));
    if (!one) read = fail(std::move(one).error());
    if (one) out.push_back(*std::move(one));
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

Result<std::vector<Announcement>> State::announcements(std::string_view model) const {
  return read_announcements(impl_->store->view(), model);
}

Result<std::vector<pipeline::Baseline>> expected_baselines(const StoreView& view, std::string_view model, std::int64_t now,
                                                           const std::vector<StoredBaseline>& all) {
  std::vector<pipeline::Baseline> out;
  if (model.empty()) return out;
  GH_TRY(const auto announced, read_announcements(view, model));
  for (const Announcement& announcement : announced) {
    // Before it was made, it can't be: the clock was set back.
    if (now > announcement.until || announcement.since - now > clock_tolerance_ms) continue;
    for (const StoredBaseline& one : all) {
      if (one.state != BaselineState::approved) continue;
      auto changed = server::apply(announcement.change, one.baseline);
      if (!changed || std::find(out.begin(), out.end(), *changed) != out.end()) continue;
      const bool decided = std::any_of(all.begin(), all.end(), [&](const StoredBaseline& known) {
        return known.state != BaselineState::candidate && known.baseline == *changed;
      });
      if (!decided) out.push_back(*std::move(changed));
    }
  }
  return out;
}

Result<void> State::Impl::approve_model(Batch& batch, ModelApproval& work) {
  if (!work.started) {
    GH_TRY(const auto device, read_device(batch, work.device));
    if (!device) return unknown_device(work.device);
    if (device->device.model.empty())
      return fail(Error{Fault::denied, "the device is of no model: name it with `device set --model`", {}, 0, work.device, {}});
    GH_TRY(const auto both, compared(batch, work.device, work.number));
    if (!both)
      return fail(Error{Fault::denied, "the device has no change to approve: it takes a baseline that waits and an approved one of its bank", {}, 0,
                        work.device, {}});
    work.change = change_between(both->approved.baseline, both->measured.baseline);
    work.model = device->device.model;
    GH_TRY(work.out->approved, approve(batch, work.device, both->measured.number, work.replace, work.author));
    work.author.expected.reset();
    work.started = true;
  }
  const std::string prefix = layout::model_prefix(work.model);
  std::vector<std::string> next;
  GH_CHECK(batch.each(prefix, prefix + work.place, [&](std::string_view key, auto) {
    next.emplace_back(key.substr(prefix.size()));
    return next.size() <= devices_a_write;
  }));
  const bool more = next.size() > devices_a_write;
  if (more) {
    work.place = next.back();
    next.pop_back();
  }
  for (const std::string& id : next) {
    if (id == work.device) continue;
    GH_TRY(const auto both, compared(batch, id, std::nullopt));
    if (!both) continue;
    if (server::apply(work.change, both->approved.baseline) == both->measured.baseline) {
      GH_TRY(const StoredBaseline approved, approve(batch, id, both->measured.number, work.replace, work.author));
      work.out->others.emplace_back(id, approved.number);
    } else if (++work.out->left_total <= max_left) {
      work.out->left.push_back({id, "its baseline " + std::to_string(both->measured.number) + " changes otherwise"});
    }
  }
  if (more) batch.call_again();
  return {};
}

Result<Announcement> State::Impl::announce(Batch& batch, const std::string& id, std::optional<std::uint64_t> number,
                                           std::int64_t until, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  GH_CHECK(check_author(author, &value->device));
  const std::string& model = value->device.model;
  if (model.empty()) return fail(Error{Fault::denied, "the device is of no model: name it with `device set --model`", {}, 0, id, {}});
  if (until <= now()) return fail(Error{Fault::usage, "an announcement ends in the future", {}, 0, id, {}});
  if (until - now() > longest_announcement_ms) return fail(Error{Fault::usage, "an announcement ends within a year", {}, 0, id, {}});
  GH_TRY(const auto both, compared(batch, id, number));
  if (!both)
    return fail(Error{Fault::denied, "the device shows no change: it takes a baseline that waits, or the number of one, and an approved one of its bank",
                      {}, 0, id, {}});
  Announcement out{.number = 1, .model = model, .device = id, .since = now(), .until = until, .by = author.by, .why = author.why,
                   .change = change_between(both->approved.baseline, both->measured.baseline)};
  if (out.change.hunks.empty()) return fail(Error{Fault::denied, "the two baselines don't differ", {}, 0, id, {}});
  GH_TRY(const auto known, read_announcements(batch, model));
  std::size_t open = 0;
  for (const Announcement& one : known) {
    out.number = std::max(out.number, one.number + 1);
    if (one.until < now())
      batch.erase(layout::announcement_key(model, one.number));
    else
      ++open;
  }
  if (open >= max_announcements) return fail(Error{Fault::limit, "more than 64 open announcements of one model", {}, 0, model, {}});
  batch.put(layout::announcement_key(model, out.number), layout::encode(out));
  note(batch, *value, author, "its change of firmware announced for the model " + model + ", number " + std::to_string(out.number));
  GH_CHECK(put_device(batch, *value));
  return out;
}

Result<void> State::Impl::withdraw(Batch& batch, const std::string& model, std::uint64_t number) {
  const std::string key = layout::announcement_key(model, number);
  GH_TRY(const auto value, batch.read(key));
  if (!value) return fail(Error{Fault::denied, "no such announcement", {}, 0, escaped(model, 256), std::to_string(number)});
  batch.erase(key);
  return {};
}

}  // namespace gatehouse::server
