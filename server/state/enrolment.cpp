// Enrolment by credential activation: offers, bound endorsement keys, and keys that were proved.
#include "server/state/enrolment.h"

#include <algorithm>

#include "base/hex.h"
#include "server/state/codec.h"
#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view document = "docs/formats/enrolment.md";
constexpr std::size_t max_keys = 64, max_name_bytes = 1024;

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::unexpected<Error> refused(std::string_view why, const std::string& device, std::string detail = {}) {
  return fail(Error{Fault::denied, why, document, 0, device, std::move(detail)});
}

// All offers, those whose time is over included.
Result<std::vector<EnrolmentOffer>> read_offers(const StoreView& view) {
  const std::string prefix(1, layout::offer_letter);
  std::vector<EnrolmentOffer> out;
  Result<void> read{};
  GH_CHECK(view.each(prefix, prefix, [&](std::string_view key, std::string_view value) {
    auto one = layout::decode_offer(value, to_hex(as_bytes(key.substr(1))));
    if (!one) read = fail(std::move(one).error());
    if (one) out.push_back(*std::move(one));
    return read.has_value();
  }));
  GH_CHECK(read);
  return out;
}

Result<std::optional<EnrolmentOffer>> read_offer(const StoreView& view, std::string_view id) {
  if (!is_hex(id, 32)) return std::nullopt;
  GH_TRY(const auto value, view.read(layout::offer_key(id)));
  if (!value) return std::nullopt;
  GH_TRY(EnrolmentOffer offer, layout::decode_offer(*value, std::string(id)));
  return offer;
}

Result<std::optional<BoundEk>> read_ek(const StoreView& view, std::string_view device) {
  GH_TRY(const auto value, view.read(layout::bound_ek_key(device)));
  if (!value) return std::nullopt;
  GH_TRY(BoundEk ek, layout::decode_bound_ek(*value));
  return ek;
}

}  // namespace

Result<std::vector<EnrolmentOffer>> State::enrolments() const { return read_offers(impl_->store->view()); }
Result<std::optional<EnrolmentOffer>> State::enrolment(std::string_view id) const { return read_offer(impl_->store->view(), id); }
Result<std::optional<BoundEk>> State::endorsement(std::string_view device) const { return read_ek(impl_->store->view(), device); }
Result<std::optional<std::string>> State::endorsement_owner(std::string_view pin) const {
  if (!is_hex(pin, 64)) return std::nullopt;
  return impl_->store->view().read(layout::ek_owner_key(pin));
}

Result<void> State::Impl::open_enrolment(Batch& batch, const EnrolmentOffer& offer, const Author& author) {
  const std::int64_t clock = now();
  if (!is_hex(offer.id, 32) || offer.key.size() != 32) return fail(Fault::internal, "not a token's id and key");
  if (!offer.device.empty() && !acceptable_device_id(offer.device))
    return fail(Error{Fault::usage, "a Device ID is 1 to 256 bytes of printable UTF-8", {}, 0, escaped(offer.device, 64), {}});
  if (offer.product && offer.product->size() > max_name_bytes) return fail(Fault::usage, "product name longer than 1,024 bytes");
  if (offer.model && !offer.model->empty() && !acceptable_device_id(*offer.model))
    return fail(Fault::usage, "a model is 1 to 256 bytes of printable UTF-8");
  if (offer.identity.size() > max_name_bytes) return fail(Fault::usage, "identity isn't 1 to 1,024 bytes");
  if (!offer.ek.empty() && !is_hex(offer.ek, 64)) return fail(Fault::usage, "an EK is named by its SHA-256, 64 hexadecimal digits");
  if (offer.until <= clock || offer.until - clock > longest_offer_ms) return fail(Fault::usage, "an enrolment is open for up to 30 days");
  std::optional<layout::DeviceValue> device;
  if (!offer.device.empty()) {
    GH_TRY(device, read_device(batch, offer.device));
  }
  GH_CHECK(check_author(author, device ? &device->device : nullptr));
  if (device && bars(device->device.state))
    return refused("the device isn't to be trusted: resume it, or trust a key of it by its name", offer.device, std::string(name(device->device.state)));
  GH_TRY(const auto known, read_offers(batch));
  std::size_t open = 0;
  for (const EnrolmentOffer& one : known) {
    if (!is_open(one, clock) || (!offer.device.empty() && one.device == offer.device))
      batch.erase(layout::offer_key(one.id));
    else
      ++open;
  }
  if (open >= max_offers) return fail(Fault::limit, "more than 1,000 open enrolments");
  EnrolmentOffer stored = offer;
  stored.opened = clock;
  stored.by = author.by;
  stored.why = author.why;
  batch.put(layout::offer_key(stored.id), layout::encode(stored));
  return {};
}

Result<void> State::Impl::close_enrolment(Batch& batch, const std::string& id) {
  GH_TRY(const auto offer, read_offer(batch, id));
  if (!offer) return fail(Error{Fault::denied, "no such enrolment is open", document, 0, escaped(id, 64), {}});
  batch.erase(layout::offer_key(id));
  return {};
}

Result<void> State::Impl::forget_endorsement(Batch& batch, const std::string& id) {
  GH_TRY(const auto ek, read_ek(batch, id));
  if (ek) batch.erase(layout::ek_owner_key(ek->pin));
  batch.erase(layout::bound_ek_key(id));
  GH_TRY(const auto offers, read_offers(batch));
  for (const EnrolmentOffer& one : offers)
    if (one.device == id) batch.erase(layout::offer_key(one.id));
  return {};
}

Result<void> State::Impl::activate(Batch& batch, const Activation& activation) {
  const PublicKey& ak = activation.ak;
  GH_TRY(const auto owner, batch.read(layout::ek_owner_key(activation.ek.pin)));
  std::optional<EnrolmentOffer> offer;
  std::string id;
  if (!activation.offer.empty()) {
    GH_TRY(offer, read_offer(batch, activation.offer));
    if (!offer || !is_open(*offer, now())) return refused("no enrolment is open for this token", {});
    if (!offer->identity.empty() && offer->identity != activation.identity) return refused("the enrolment is for another identity", offer->device);
    if (offer->ek.empty() ? activation.ek.certificate.empty() : offer->ek != activation.ek.pin)
      return refused("the enrolment is for another EK, or for one with a certificate", offer->device);
    id = offer->device.empty() ? ak.key_id() : offer->device;
  } else {
    if (!owner) return refused("no device was enrolled with this EK", {});
    id = *owner;
  }
  if (owner && *owner != id) return refused("this TPM is enrolled as another device", id, *owner);

  GH_TRY(auto stored, read_device(batch, id));
  if (stored && bars(stored->device.state)) return refused("the device isn't to be trusted", id, std::string(name(stored->device.state)));
  if (!offer && (!stored || stored->device.state != DeviceState::trusted)) return refused("the device isn't trusted", id);
  // The operator's word about who speaks for the device holds for its TPM, too.
  if (!offer && !stored->device.identities.empty() && std::find(stored->device.identities.begin(), stored->device.identities.end(), activation.identity) == stored->device.identities.end())
    return refused("the device is bound to another identity", id);
  GH_TRY(const KeyJudgement standing, judge(batch, id, stored ? &*stored : nullptr, ak));
  if (standing.standing == KeyStanding::revoked) return refused("this AK was revoked", id);
  if (standing.standing == KeyStanding::other_device) return refused("this AK is enrolled for another device", id, standing.owner);

  layout::DeviceValue value = stored.value_or(layout::DeviceValue{});
  Device& device = value.device;
  if (stored && !device.enrolled) --batch.tallies.pending_devices;
  std::string what;
  const auto say = [&](const std::string& one) { what += (what.empty() ? "" : ", ") + one; };
  if (!stored) {
    device.id = id;
    device.created = device.state_since = now();
    GH_TRY(device.changes, last_change(batch, id));
  }
  if (!device.enrolled) {
    device.product.clear();  // what an unauthenticated session claimed
    say("enrolled");
  }
  device.enrolled = true;
  if (offer && offer->product && device.product != *offer->product) {
    device.product = *offer->product;
    say("product " + escaped(device.product, 256));
  }
  if (offer && offer->model && device.model != *offer->model) {
    if (!device.model.empty()) batch.erase(layout::model_key(device.model, id));
    device.model = *offer->model;
    if (!device.model.empty()) batch.put(layout::model_key(device.model, id), {});
    say("model " + (device.model.empty() ? "none" : device.model));
  }
  if (offer && !offer->identity.empty() && device.identities != std::vector{offer->identity}) {
    device.identities = {offer->identity};
    say("identities changed");
  }

  auto key = std::find_if(device.keys.begin(), device.keys.end(), [&](const DeviceKey& one) {
    return one.key_id == ak.key_id() && (one.pin == ak.pin() || one.pin.empty());
  });
  if (key == device.keys.end()) {
    if (device.keys.size() >= max_keys) return fail(Error{Fault::limit, "more than 64 AKs of one device", document, 0, id, {}});
    key = device.keys.insert(device.keys.end(), DeviceKey{});
  }
  if (key->state != KeyState::trusted || key->pin.empty()) {
    key->since = now();
    say("AK " + ak.key_id() + " trusted by credential activation");
  }
  key->state = KeyState::trusted;
  key->source = KeySource::activation;
  key->key_id = ak.key_id();
  key->pin = ak.pin();
  key->spki = ak.spki();
  key->object_attributes = activation.object_attributes;
  key->name_algorithm = activation.name_algorithm;
  key->qualified_name = activation.qualified_name;
  for (DeviceKey& other : device.keys) {
    if (other.pin == ak.pin() || other.source != KeySource::activation || other.state == KeyState::revoked || (offer && offer->keep_keys)) continue;
    other.state = KeyState::revoked;
    other.since = now();
    say("AK " + other.key_id + " revoked: another took its place");
  }

  GH_TRY(const auto before, read_ek(batch, id));
  if (before && before->pin != activation.ek.pin) batch.erase(layout::ek_owner_key(before->pin));
  if (!before || before->pin != activation.ek.pin) say("EK " + activation.ek.pin.substr(0, 16) + "... bound");
  BoundEk ek = activation.ek;
  ek.since = before && before->pin == ek.pin ? before->since : now();
  ek.session = activation.session;
  batch.put(layout::bound_ek_key(id), layout::encode(ek));
  batch.put(layout::ek_owner_key(ek.pin), id);
  if (offer) batch.erase(layout::offer_key(offer->id));

  Author author{.by = "session " + activation.session, .why = {}};
  if (offer) author.why = ("enrolment opened by " + (offer->by.empty() ? "the operator" : offer->by) + (offer->why.empty() ? "" : ": " + offer->why)).substr(0, 1024);
  if (device.state != DeviceState::trusted)
    set_state(batch, value, DeviceState::trusted, author, what);
  else if (!what.empty())
    note(batch, value, author, std::move(what));
  GH_CHECK(put_device(batch, value));
  return {};
}

namespace layout {

std::string encode(const EnrolmentOffer& value) {
  Writer w;
  w.put(layout_version);
  put_text(w, as_text(value.key));
  put_text(w, value.device);
  for (const auto* text : {&value.product, &value.model}) {
    w.put(std::uint8_t(*text ? 1 : 0));
    put_text(w, text->value_or(""));
  }
  put_text(w, value.identity);
  put_text(w, value.ek);
  w.put(std::uint8_t(value.keep_keys ? 1 : 0));
  w.put(std::uint64_t(value.opened));
  w.put(std::uint64_t(value.until));
  put_text(w, value.by);
  put_text(w, value.why);
  return taken(std::move(w));
}

Result<EnrolmentOffer> decode_offer(std::string_view value, std::string id) {
  Reader r(as_bytes(value), layout::document);
  EnrolmentOffer out;
  out.id = std::move(id);
  GH_CHECK(get_version(r));
  GH_TRY(const std::string key, get_text(r));
  if (key.size() != 32) return r.fail("a token's key isn't 32 bytes");
  out.key = to_vector(as_bytes(key));
  GH_TRY(out.device, get_text(r));
  for (auto* text : {&out.product, &out.model}) {
    GH_TRY(const bool present, get_bool(r));
    GH_TRY(std::string given, get_text(r));
    if (present) *text = std::move(given);
  }
  GH_TRY(out.identity, get_text(r));
  GH_TRY(out.ek, get_text(r));
  GH_TRY(out.keep_keys, get_bool(r));
  GH_TRY(out.opened, get_time(r));
  GH_TRY(out.until, get_time(r));
  GH_TRY(out.by, get_text(r));
  GH_TRY(out.why, get_text(r));
  GH_CHECK(r.finish());
  return out;
}

std::string encode(const BoundEk& value) {
  Writer w;
  w.put(layout_version);
  put_text(w, value.pin);
  put_text(w, as_text(value.name));
  for (const std::string* text : {&value.certificate, &value.issuer, &value.manufacturer, &value.model, &value.version}) put_text(w, *text);
  w.put(std::uint64_t(value.since));
  put_text(w, value.session);
  return taken(std::move(w));
}

Result<BoundEk> decode_bound_ek(std::string_view value) {
  Reader r(as_bytes(value), layout::document);
  BoundEk out;
  GH_CHECK(get_version(r));
  GH_TRY(out.pin, get_text(r));
  GH_TRY(const std::string name, get_text(r));
  out.name = to_vector(as_bytes(name));
  for (std::string* text : {&out.certificate, &out.issuer, &out.manufacturer, &out.model, &out.version}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(out.since, get_time(r));
  GH_TRY(out.session, get_text(r));
  GH_CHECK(r.finish());
  return out;
}

}  // namespace layout
}  // namespace gatehouse::server
