// What operators decide: which devices there are, which of their keys count, which firmware is theirs.
#include <algorithm>

#include "base/hex.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

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

}  // namespace

void put_device(Batch& batch, const layout::DeviceValue& value) {
  batch.put(layout::device_key(value.device.id), layout::encode(value));
  for (const DeviceKey& key : value.device.keys) batch.put(layout::key_id_prefix(key.key_id) + value.device.id, {});
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

  GH_TRY(auto stored, read_device(batch, id));
  layout::DeviceValue value = stored.value_or(layout::DeviceValue{});
  Device& device = value.device;
  if (stored && !device.enrolled) --batch.tallies.pending_devices;
  if (!stored) {
    device.id = id;
    device.created = now();
  }
  // What an unauthenticated session claimed isn't the operator's word.
  if (!device.enrolled) device.product.clear();
  device.enrolled = true;
  if (enrolment.product) device.product = *enrolment.product;
  if (!enrolment.identities.empty()) device.identities = enrolment.identities;

  if (enrolment.key || enrolment.trust) {
    DeviceKey wanted{.state = enrolment.trust ? KeyState::trusted : KeyState::pending,
                     .source = enrolment.source,
                     .key_id = {},
                     .pin = {},
                     .spki = {},
                     .object_attributes = std::nullopt,
                     .name_algorithm = std::nullopt,
                     .qualified_name = {},
                     .since = now()};
    if (enrolment.key) {
      const PublicKey& key = enrolment.key->key;
      GH_TRY(const KeyJudgement standing, judge(batch, id, key));
      if (standing.standing == KeyStanding::revoked)
        return fail(Error{Fault::denied, "this AK was revoked", "spec part 2 5.2", 0, id, {}});
      if (standing.standing == KeyStanding::other_device)
        return fail(Error{Fault::denied, "this AK is enrolled for another device", "spec part 2 5.2", 0, id, standing.owner});
      wanted.key_id = key.key_id();
      wanted.pin = key.pin();
      wanted.spki = key.spki();
      wanted.object_attributes = enrolment.key->object_attributes;
      wanted.name_algorithm = enrolment.key->name_algorithm;
    } else {
      if (!is_key_id(id))
        return fail(Error{Fault::usage, "without an AK the Device ID must be the key's SHA-1 key id (40 hex digits)", {},
                          0, id, {}});
      wanted.key_id = id;
    }
    const auto same = std::find_if(device.keys.begin(), device.keys.end(), [&](const DeviceKey& key) {
      return key.key_id == wanted.key_id && (key.pin == wanted.pin || key.pin.empty() || wanted.pin.empty());
    });
    if (same == device.keys.end()) {
      if (device.keys.size() >= max_keys) return fail(Error{Fault::limit, "more than 64 AKs of one device", {}, 0, id, {}});
      device.keys.push_back(std::move(wanted));
    } else if (same->state == KeyState::revoked) {
      return fail(Error{Fault::denied, "this AK was revoked", "spec part 2 5.2", 0, id, {}});
    } else {
      if (same->pin.empty()) {
        same->pin = wanted.pin;
        same->spki = wanted.spki;
      }
      if (wanted.object_attributes) same->object_attributes = wanted.object_attributes;
      if (wanted.name_algorithm) same->name_algorithm = wanted.name_algorithm;
      if (enrolment.trust && same->state != KeyState::trusted) {
        same->state = KeyState::trusted;
        same->source = enrolment.source;
        same->since = now();
      }
    }
  }
  if (enrolment.approved_baseline) {
    GH_TRY(const auto all, read_baselines(batch, id));
    const auto same = std::find_if(all.begin(), all.end(), [&](const StoredBaseline& one) {
      return one.baseline == *enrolment.approved_baseline;
    });
    StoredBaseline approved;
    if (same == all.end()) {
      approved.number = value.next_baseline++;
      approved.baseline = *enrolment.approved_baseline;
    } else {
      approved = *same;
    }
    if (approved.state != BaselineState::approved) {
      approved.state = BaselineState::approved;
      approved.since = now();
      batch.put(layout::baseline_key(id, approved.number), layout::encode(approved));
    }
  }
  put_device(batch, value);
  return device;
}

Result<DeviceKey> State::Impl::trust(Batch& batch, const std::string& id, const std::string& key_id) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  Device& device = value->device;
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
  if (key.state != KeyState::trusted) {
    key.state = KeyState::trusted;
    key.since = now();
  }
  if (!device.enrolled) {
    --batch.tallies.pending_devices;
    device.enrolled = true;
  }
  put_device(batch, *value);
  return key;
}

Result<std::size_t> State::Impl::revoke(Batch& batch, const std::string& id, const std::string& key_id) {
  GH_TRY(auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
  std::size_t matched = 0, changed = 0;
  for (DeviceKey& key : value->device.keys) {
    if (!key_id.empty() && !names(key, key_id)) continue;
    ++matched;
    if (key.state == KeyState::revoked) continue;
    key.state = KeyState::revoked;
    key.since = now();
    ++changed;
  }
  if (matched == 0) return fail(Error{Fault::denied, "the device has no such AK", {}, 0, id, {}});
  if (!value->device.enrolled) {
    --batch.tallies.pending_devices;
    value->device.enrolled = true;
  }
  put_device(batch, *value);
  return changed;
}

Result<void> State::Impl::remove(Batch& batch, const std::string& id) {
  GH_TRY(const auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
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
  const std::string failing = layout::failing_prefix(id);
  GH_CHECK(batch.each(failing, failing, [&](std::string_view key, auto) { return items.emplace_back(key), true; }));
  for (const std::string& key : items) batch.erase(key);
  GH_CHECK(forget_software(batch, id));
  GH_CHECK(forget_files(batch, id));
  batch.erase(layout::device_key(id));
  return {};
}

Result<StoredBaseline> State::Impl::approve(Batch& batch, const std::string& id, std::optional<std::uint64_t> number,
                                            bool replace) {
  GH_TRY(const auto value, read_device(batch, id));
  if (!value) return unknown_device(id);
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
  }
  return *wanted;
}

}  // namespace gatehouse::server
