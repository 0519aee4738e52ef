// What operators decide: which devices there are, which of their keys count, which firmware is theirs.
#include <algorithm>

#include "base/hex.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view removed = "removed";  // the last entry of an enrolled device's history

constexpr std::size_t max_keys = 64, max_identities = 64, max_name_bytes = 1024;

std::unexpected<Error> unknown_device(const std::string& id) {
  return fail(Error{Fault::denied, "no such device", {}, 0, escaped(id, 256), {}});
}

bool is_key_id(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

bool names(const DeviceKey& key, std::string_view wanted) { return key.key_id == wanted || key.pin == wanted; }

// A key that a device of this store may trust: no other one trusts it, and it was never revoked.
Result<void> free_to_trust(const StoreView& view, const std::string& device, const DeviceKey& key) {
  if (key.spki.empty()) return {};
  GH_TRY(const PublicKey known, PublicKey::from_spki(key.spki));
  GH_TRY(const KeyJudgement now, judge(view, device, known));
  if (now.standing == KeyStanding::other_device)
    return fail(Error{Fault::denied, "this AK is enrolled for another device", "spec part 2 5.2", 0, {}, now.owner});
  return {};
}

// The device has the key in this state, and `said` what changed.
Result<void> add_key(const Batch& batch, Device& device, const EnrolledKey& given, KeySource source, std::int64_t now,
                     std::vector<std::string>& said) {
  const std::string& id = device.id;
  DeviceKey wanted{.state = given.state, .source = source, .key_id = given.key_id, .pin = {}, .spki = {},
                   .object_attributes = std::nullopt, .name_algorithm = std::nullopt, .qualified_name = {}, .since = now};
  if (given.key) {
    const PublicKey& key = given.key->key;
    GH_TRY(const KeyJudgement standing, judge(batch, id, key));
    if (standing.standing == KeyStanding::revoked && given.state != KeyState::revoked)
      return fail(Error{Fault::denied, "this AK was revoked", "spec part 2 5.2", 0, id, {}});
    if (standing.standing == KeyStanding::other_device)
      return fail(Error{Fault::denied, "this AK is enrolled for another device", "spec part 2 5.2", 0, id, standing.owner});
    wanted.key_id = key.key_id();
    wanted.pin = key.pin();
    wanted.spki = key.spki();
    wanted.object_attributes = given.key->object_attributes;
    wanted.name_algorithm = given.key->name_algorithm;
  } else if (!is_key_id(given.key_id)) {
    return fail(Error{Fault::usage, "a key id has 40 hex digits", {}, 0, id, {}});
  }
  const auto same = std::find_if(device.keys.begin(), device.keys.end(), [&](const DeviceKey& key) {
    return key.key_id == wanted.key_id && (key.pin == wanted.pin || key.pin.empty() || wanted.pin.empty());
  });
  if (same == device.keys.end()) {
    if (device.keys.size() >= max_keys) return fail(Error{Fault::limit, "more than 64 AKs of one device", {}, 0, id, {}});
    said.push_back("AK " + wanted.key_id + " " + std::string(name(wanted.state)));
    device.keys.push_back(std::move(wanted));
    return {};
  }
  if (same->state == KeyState::revoked && wanted.state != KeyState::revoked)
    return fail(Error{Fault::denied, "this AK was revoked", "spec part 2 5.2", 0, id, {}});
  if (same->pin.empty()) {
    same->pin = wanted.pin;
    same->spki = wanted.spki;
  }
  if (wanted.object_attributes) same->object_attributes = wanted.object_attributes;
  if (wanted.name_algorithm) same->name_algorithm = wanted.name_algorithm;
  if (wanted.state != KeyState::pending && same->state != wanted.state) {
    same->state = wanted.state;
    same->source = source;
    same->since = now;
    said.push_back("AK " + same->key_id + " " + std::string(name(wanted.state)));
  }
  return {};
}

std::unexpected<Error> barred_by(const Device& device) {
  return fail(Error{Fault::denied, "the device isn't to be trusted: resume it, or trust a key of it by its name", {}, 0, device.id,
                    std::string(name(device.state))});
}

// The history of a device stays when it is removed; of one that never was enrolled nothing does, or strangers would fill the
// store with names. Adds the keys of its entries to `keys`.
Result<void> forget_stranger(Batch& batch, const std::string& id, std::vector<std::string>& keys) {
  std::vector<std::string> entries;
  bool enrolled_once = false;
  Result<void> good{};
  const std::string prefix = layout::history_prefix(id);
  GH_CHECK(batch.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
    auto entry = layout::decode_history(value, 0);
    if (!entry) return good = std::unexpected(std::move(entry).error()), false;
    enrolled_once = enrolled_once || entry->what == removed;
    entries.emplace_back(key);
    return true;
  }));
  GH_CHECK(good);
  if (!enrolled_once) std::move(entries.begin(), entries.end(), std::back_inserter(keys));
  return {};
}

void set_model(Batch& batch, Device& device, const std::string& model) {
  if (!device.model.empty()) batch.erase(layout::model_key(device.model, device.id));
  device.model = model;
  if (!model.empty()) batch.put(layout::model_key(model, device.id), {});
}

}  // namespace

Result<void> put_device(Batch& batch, const layout::DeviceValue& value) {
  batch.put(layout::device_key(value.device.id), layout::encode(value));
  for (const DeviceKey& key : value.device.keys) {
    const std::string prefix = layout::key_id_prefix(key.key_id), place = prefix + value.device.id;
    GH_TRY(const auto there, batch.read(place));
    if (there) continue;
    bool another = false;
    GH_CHECK(batch.each(prefix, prefix, [&](auto, auto) { return another = true, false; }));
    if (another) batch.put(layout::shared_key(key.key_id), {});
    batch.put(place, {});
  }
  return {};
}

Result<Device> State::Impl::enrol(Batch& batch, const Enrolment& enrolment) {
  const std::string& id = enrolment.device;
  if (!acceptable_device_id(id))
    return fail(Error{Fault::usage, "a Device ID is 1 to 256 bytes of printable UTF-8", {}, 0, escaped(id, 64), {}});
  if (enrolment.identities.size() > max_identities) return fail(Fault::limit, "more than 64 identities");
  for (const std::string& identity : enrolment.identities)
    if (identity.empty() || identity.size() > max_name_bytes) return fail(Fault::usage, "identity isn't 1 to 1,024 bytes");
  if (enrolment.product && enrolment.product->size() > max_name_bytes)
    return fail(Fault::usage, "product name longer than 1,024 bytes");
  if (enrolment.model && !enrolment.model->empty() && !acceptable_device_id(*enrolment.model))
    return fail(Fault::usage, "a model is 1 to 256 bytes of printable UTF-8");

  GH_TRY(auto stored, read_device(batch, id));
  GH_CHECK(check_author(enrolment.author, stored ? &stored->device : nullptr));
  layout::DeviceValue value = stored.value_or(layout::DeviceValue{});
  Device& device = value.device;
  // An old list that is imported once more brings nobody back.
  if (stored && bars(device.state) && enrolment.source == KeySource::import && (enrolment.trust || enrolment.state == DeviceState::trusted))
    return barred_by(device);
  if (stored && !device.enrolled) --batch.tallies.pending_devices;
  if (!stored) {
    device.id = id;
    device.created = device.state_since = now();
    GH_TRY(device.changes, last_change(batch, id));
  }
  const Device before = device;
  // What an unauthenticated session claimed isn't the operator's word.
  if (!device.enrolled) device.product.clear();
  device.enrolled = true;
  if (enrolment.product) device.product = *enrolment.product;
  if (!enrolment.identities.empty()) device.identities = enrolment.identities;
  if (enrolment.model) set_model(batch, device, *enrolment.model);

  std::vector<std::string> said;
  // `trust` is of the AK that is given, of those that are listed, or where there is none of an identity or of the Device ID.
  const bool keyless = enrolment.trust && !enrolment.key &&
                       std::none_of(enrolment.keys.begin(), enrolment.keys.end(), [](const EnrolledKey& key) { return key.state == KeyState::trusted; });
  const bool by_identity = keyless && !is_key_id(id) && !device.identities.empty();
  if (enrolment.key || (keyless && !by_identity)) {
    if (!enrolment.key && !is_key_id(id))
      return fail(Error{Fault::usage, "without an AK the Device ID must be the key's SHA-1 key id (40 hex digits)", {}, 0, id, {}});
    const EnrolledKey first{enrolment.key, id, enrolment.trust ? KeyState::trusted : KeyState::pending};
    GH_CHECK(add_key(batch, device, first, enrolment.source, now(), said));
  }
  for (const EnrolledKey& key : enrolment.keys) GH_CHECK(add_key(batch, device, key, enrolment.source, now(), said));
  std::vector<pipeline::Baseline> approved = enrolment.baselines;
  if (enrolment.approved_baseline) approved.insert(approved.begin(), *enrolment.approved_baseline);
  for (const pipeline::Baseline& wanted : approved) {
    GH_TRY(const auto all, read_baselines(batch, id));
    const auto same = std::find_if(all.begin(), all.end(), [&](const StoredBaseline& one) { return one.baseline == wanted; });
    StoredBaseline stored_baseline;
    if (same == all.end()) {
      stored_baseline.number = value.next_baseline++;
      stored_baseline.baseline = wanted;
    } else {
      stored_baseline = *same;
    }
    if (stored_baseline.state == BaselineState::approved) continue;
    stored_baseline.state = BaselineState::approved;
    stored_baseline.since = now();
    batch.put(layout::baseline_key(id, stored_baseline.number), layout::encode(stored_baseline));
    said.push_back("baseline " + std::to_string(stored_baseline.number) + " approved");
  }
  // A suspended device stays so whatever key is added to it; one that is revoked or retired is enrolled anew with a key.
  DeviceState state = device.state;
  const bool has_trusted = by_identity || std::any_of(device.keys.begin(), device.keys.end(),
                                                      [](const DeviceKey& key) { return key.state == KeyState::trusted; });
  if (enrolment.state)
    state = *enrolment.state;
  else if (has_trusted && state != DeviceState::suspended)
    state = DeviceState::trusted;
  // Nor does one without that word: as pending, or by a key that it calls trusted.
  if (stored && bars(before.state) && !bars(state) && enrolment.source == KeySource::import) return barred_by(before);
  if (state == DeviceState::trusted && !has_trusted && device.identities.empty())
    return fail(Error{Fault::usage, "a trusted device has a trusted AK, or an identity that it is bound to", {}, 0, id, {}});
  if (!stored || !before.enrolled) said.insert(said.begin(), enrolment.source == KeySource::import ? "imported" : "enrolled");
  if (enrolment.product && before.product != device.product) said.push_back("product " + escaped(device.product, 256));
  if (before.model != device.model) said.push_back("model " + (device.model.empty() ? "none" : device.model));
  if (before.identities != device.identities) said.push_back("identities changed");
  std::string what;
  for (const std::string& one : said) what += (what.empty() ? "" : ", ") + one;
  if (state != device.state)
    set_state(batch, value, state, enrolment.author, what);
  else if (!what.empty())
    note(batch, value, enrolment.author, std::move(what));
  GH_CHECK(put_device(batch, value));
  return device;
}

Result<DeviceKey> State::Impl::trust(Batch& batch, const std::string& id, const std::string& key_id, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  Device& device = value->device;
  GH_CHECK(check_author(author, &device));
  if (key_id.empty() && bars(device.state))
    return fail(Error{Fault::denied, device.state == DeviceState::suspended ? "the device is suspended: resume it"
                                                                            : "the device is revoked or retired: name the key that is to be trusted",
                      {}, 0, id, {}});
  std::vector<DeviceKey*> wanted;
  for (DeviceKey& key : device.keys)
    if (key_id.empty() ? key.state == KeyState::pending : names(key, key_id)) wanted.push_back(&key);
  if (wanted.empty())
    return fail(Error{Fault::denied, key_id.empty() ? "the device has no pending AK" : "the device has no such AK", {}, 0,
                      id, {}});
  if (wanted.size() > 1) {
    std::string which;
    for (const DeviceKey* key : wanted) which += (which.empty() ? "" : ", ") + key->key_id;
    return fail(Error{Fault::usage, "several AKs wait: name one by its key id", {}, 0, id, std::move(which)});
  }
  DeviceKey& key = *wanted.front();
  GH_CHECK(free_to_trust(batch, id, key));
  const std::string what = "AK " + key.key_id + " trusted";
  const bool news = key.state != KeyState::trusted;
  if (news) {
    key.state = KeyState::trusted;
    key.since = now();
  }
  if (!device.enrolled) {
    --batch.tallies.pending_devices;
    device.enrolled = true;
  }
  // A suspended device has one more key, and is suspended.
  if (device.state != DeviceState::suspended && device.state != DeviceState::trusted)
    set_state(batch, *value, DeviceState::trusted, author, what);
  else if (news)
    note(batch, *value, author, what);
  GH_CHECK(put_device(batch, *value));
  return key;
}

Result<Device> State::Impl::alter(Batch& batch, const std::string& id, const std::optional<std::string>& product,
                                  const std::optional<std::string>& model,
                                  const std::optional<std::vector<std::string>>& identities, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  Device& device = value->device;
  GH_CHECK(check_author(author, &device));
  std::string what;
  const auto say = [&](const std::string& one) { what += (what.empty() ? "" : ", ") + one; };
  if (product && *product != device.product) {
    if (product->size() > max_name_bytes) return fail(Fault::usage, "product name longer than 1,024 bytes");
    device.product = *product;
    say("product " + (product->empty() ? std::string("none") : escaped(*product, 256)));
  }
  if (model && *model != device.model) {
    if (!model->empty() && !acceptable_device_id(*model)) return fail(Fault::usage, "a model is 1 to 256 bytes of printable UTF-8");
    set_model(batch, device, *model);
    say("model " + (model->empty() ? "none" : *model));
  }
  if (identities && *identities != device.identities) {
    if (identities->size() > max_identities) return fail(Fault::limit, "more than 64 identities");
    for (const std::string& identity : *identities)
      if (identity.empty() || identity.size() > max_name_bytes) return fail(Fault::usage, "identity isn't 1 to 1,024 bytes");
    device.identities = *identities;
    say("identities changed");
  }
  if (what.empty()) return device;
  note(batch, *value, author, std::move(what));
  GH_CHECK(put_device(batch, *value));
  return device;
}

Result<std::size_t> State::Impl::revoke(Batch& batch, const std::string& id, const std::string& key_id, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  GH_CHECK(check_author(author, &value->device));
  std::string what;
  std::size_t matched = 0, changed = 0;
  for (DeviceKey& key : value->device.keys) {
    if (!key_id.empty() && !names(key, key_id)) continue;
    ++matched;
    if (key.state == KeyState::revoked) continue;
    key.state = KeyState::revoked;
    key.since = now();
    what += (what.empty() ? "AK " : ", AK ") + key.key_id + " revoked";
    ++changed;
  }
  if (matched == 0 && !key_id.empty()) return fail(Error{Fault::denied, "the device has no such AK", {}, 0, id, {}});
  if (!value->device.enrolled) {
    --batch.tallies.pending_devices;
    value->device.enrolled = true;
  }
  const Device& device = value->device;
  const bool none_left = std::all_of(device.keys.begin(), device.keys.end(), [](const DeviceKey& key) { return key.state == KeyState::revoked; });
  if ((key_id.empty() || none_left) && device.state != DeviceState::revoked && device.state != DeviceState::retired)
    set_state(batch, *value, DeviceState::revoked, author, what);
  else if (changed != 0)
    note(batch, *value, author, what);
  GH_CHECK(put_device(batch, *value));
  return changed;
}

Result<void> State::Impl::remove(Batch& batch, const std::string& id, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  GH_CHECK(check_author(author, &value->device));
  if (value->device.enrolled) note(batch, *value, author, std::string(removed));
  if (!value->device.model.empty()) batch.erase(layout::model_key(value->device.model, id));
  GH_TRY(const auto attested, read_attested(batch, id));
  if (attested && attested->looked_for) batch.erase(layout::lease_key(*attested->looked_for, id));
  batch.erase(layout::attested_key(id));
  if (!value->device.enrolled) --batch.tallies.pending_devices;
  for (const DeviceKey& key : value->device.keys) {
    batch.erase(layout::key_id_prefix(key.key_id) + id);
    if (key.state == KeyState::revoked)
      batch.put(key.pin.empty() ? layout::revoked_id_key(key.key_id) : layout::revoked_pin_key(key.pin), id);
    // The last quote stays with a revoked key only in so far as it can't be used: the key can't come back.
    if (!key.pin.empty()) batch.erase(layout::quote_key(key.pin));
  }
  GH_TRY(const auto all, read_baselines(batch, id));
  for (const StoredBaseline& one : all) batch.erase(layout::baseline_key(id, one.number));
  std::vector<std::string> items;
  const std::string results = layout::item_result_prefix(id);
  GH_CHECK(batch.each(results, results, [&](std::string_view key, auto) { return items.emplace_back(key), true; }));
  if (!value->device.enrolled) GH_CHECK(forget_stranger(batch, id, items));
  for (const std::string& key : items) batch.erase(key);
  GH_CHECK(forget_software(batch, id));
  GH_CHECK(forget_files(batch, id));
  GH_CHECK(forget_endorsement(batch, id));
  batch.erase(layout::device_key(id));
  return {};
}

Result<StoredBaseline> State::Impl::approve(Batch& batch, const std::string& id, std::optional<std::uint64_t> number,
                                            bool replace, const Author& author) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  GH_CHECK(check_author(author, &value->device));
  std::string what;
  GH_TRY(auto all, read_baselines(batch, id));
  StoredBaseline* wanted = nullptr;
  for (StoredBaseline& one : all)
    if (number ? one.number == *number : one.state == BaselineState::candidate) wanted = &one;
  if (wanted == nullptr)
    return fail(Error{Fault::denied,
                      number ? "the device has no such baseline"
                             : "the device has no baseline that waits: a good session proposes one",
                      {}, 0, id, {}});
  for (StoredBaseline& one : all) {
    const bool retire = replace && &one != wanted && one.state == BaselineState::approved &&
                        one.baseline.bank == wanted->baseline.bank;
    if (&one != wanted && !retire) continue;
    const BaselineState next = retire ? BaselineState::retired : BaselineState::approved;
    if (one.state == next) continue;
    one.state = next;
    one.since = now();
    batch.put(layout::baseline_key(id, one.number), layout::encode(one));
    what += (what.empty() ? "baseline " : ", baseline ") + std::to_string(one.number) + " " + std::string(name(next));
  }
  if (!what.empty()) {
    note(batch, *value, author, std::move(what));
    GH_CHECK(put_device(batch, *value));
  }
  return *wanted;
}

}  // namespace gatehouse::server
