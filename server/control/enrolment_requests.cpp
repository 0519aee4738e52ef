// Requests about enrolments by credential activation (docs/formats/enrolment.md).
#include "base/hex.h"
#include "server/control/request.h"
#include "server/results/record.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::server::request {

namespace json = boost::json;

namespace {

std::int64_t offers_clock() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Without the token's key.
json::object to_object(const EnrolmentOffer& offer, std::int64_t now) {
  json::object out;
  out["id"] = offer.id;
  out["device"] = text_or_null(offer.device);
  out["product"] = offer.product ? json::value(*offer.product) : json::value(nullptr);
  out["model"] = offer.model ? json::value(*offer.model) : json::value(nullptr);
  out["identity"] = text_or_null(offer.identity);
  out["ek"] = text_or_null(offer.ek);
  out["keep_keys"] = offer.keep_keys;
  out["opened"] = time_value(offer.opened);
  out["until"] = time_value(offer.until);
  out["open"] = is_open(offer, now);
  out["by"] = text_or_null(offer.by);
  out["why"] = text_or_null(offer.why);
  return out;
}

}  // namespace

json::value endorsement_value(const std::optional<BoundEk>& ek) {
  if (!ek) return nullptr;
  json::object out;
  out["pin"] = ek->pin;
  out["certificate"] = text_or_null(ek->certificate);
  out["issuer"] = text_or_null(ek->issuer);
  out["manufacturer"] = text_or_null(ek->manufacturer);
  out["model"] = text_or_null(ek->model);
  out["version"] = text_or_null(ek->version);
  out["since"] = time_value(ek->since);
  out["session"] = text_or_null(ek->session);
  return out;
}

Result<json::object> device_enrol(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "product", "model", "identity", "ek", "keep_keys", "seconds", "by", "why", "expect"}));
  EnrolmentOffer offer;
  GH_TRY(const auto device, text(request, "device"));
  GH_TRY(offer.product, text(request, "product"));
  GH_TRY(offer.model, text(request, "model"));
  GH_TRY(const auto identity, text(request, "identity"));
  GH_TRY(const auto ek, text(request, "ek"));
  GH_TRY(offer.keep_keys, flag(request, "keep_keys"));
  GH_TRY(const auto seconds, number(request, "seconds", std::uint64_t(longest_offer_ms / 1000)));
  GH_TRY(const Author who, author(request));
  // What isn't meant as a condition isn't given.
  if (device && device->empty()) return bad("empty", "device");
  if (identity && identity->empty()) return bad("empty", "identity");
  if (ek && ek->empty()) return bad("empty", "ek");
  if (seconds && *seconds == 0) return bad("0", "seconds");
  const enrolment::Token token = enrolment::make_token();
  offer.id = to_hex(token.id);
  offer.key = to_vector(token.key.reveal());
  offer.device = device.value_or("");
  offer.identity = identity.value_or("");
  offer.ek = ek.value_or("");
  const std::int64_t now = offers_clock();
  offer.opened = now;
  offer.until = now + std::int64_t(seconds.value_or(3'600)) * 1'000;
  GH_CHECK(state.open_enrolment_blocking(offer, who));
  offer.by = who.by;
  offer.why = who.why;
  json::object out = to_object(offer, now);
  out["token"] = token.text;
  return item(std::move(out));
}

Result<json::object> device_enrolments(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command"}));
  GH_TRY(const auto all, state.enrolments());
  const std::int64_t now = offers_clock();
  json::array items;
  for (const EnrolmentOffer& one : all) items.push_back(to_object(one, now));
  json::object out;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> device_enrol_close(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "id"}));
  GH_TRY(const std::string id, needed_text(request, "id"));
  GH_CHECK(state.close_enrolment_blocking(id));
  json::object out;
  out["closed"] = id;
  return out;
}

}  // namespace gatehouse::server::request
