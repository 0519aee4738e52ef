#include "server/results/fields.h"

#include <boost/json.hpp>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;
constexpr std::size_t most_bytes = 4096;  // of one value

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return {};
  if (value->is_string()) return escaped(std::string_view(value->get_string()), most_bytes);
  if (value->is_number()) return json::serialize(*value);
  return {};
}

std::string address_of(std::string_view peer) {
  if (peer.starts_with('[')) {
    const std::size_t end = peer.find(']');
    return std::string(peer.substr(1, end == std::string_view::npos ? end : end - 1));
  }
  const std::size_t colon = peer.find(':');
  if (colon != std::string_view::npos && peer.find(':', colon + 1) != std::string_view::npos) return std::string(peer);  // IPv6 alone
  return std::string(peer.substr(0, colon));
}

}  // namespace

Result<ResultFields> result_fields(std::string_view line) {
  boost::system::error_code code;
  const json::value value = json::parse(line, code);
  const json::object* const verdict = !code ? value.if_object() : nullptr;
  const json::value* const found = verdict != nullptr ? verdict->if_contains("record") : nullptr;
  const json::object* const record = found != nullptr ? found->if_object() : nullptr;
  if (record == nullptr) return fail(Fault::malformed, "not the line of a result", "docs/formats/control.md");
  ResultFields out;
  out.session = text_of(*verdict, "session");
  out.device = text_of(*verdict, "device");
  out.product = text_of(*verdict, "product");
  out.recommendation = text_of(*verdict, "recommendation");
  out.evaluation = text_of(*verdict, "evaluation");
  out.generation = text_of(*verdict, "generation");
  out.summary = text_of(*verdict, "summary");
  out.told = text_of(*record, "told");
  if (out.told.empty()) out.told = out.recommendation;
  out.identity = text_of(*record, "identity");
  out.identity_type = text_of(*record, "identity_type");
  out.peer = text_of(*record, "peer");
  out.address = address_of(out.peer);
  out.policy = text_of(*record, "policy");
  out.started = text_of(*record, "started");
  out.finished = text_of(*record, "finished");
  return out;
}

}  // namespace gatehouse::server
