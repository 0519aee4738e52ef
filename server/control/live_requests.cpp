#include "server/control/live_requests.h"

#include <algorithm>

#include "base/hex.h"
#include "server/control/request.h"
#include "server/radius/user_name.h"
#include "server/results/record.h"

namespace gatehouse::server {
namespace json = boost::json;
using namespace request;

namespace {

std::unexpected<Error> no_server() { return fail(Fault::environment, "no server is running on this state directory"); }

json::object to_object(const metrics::Family& family) {
  json::object out;
  out["name"] = family.name;
  out["type"] = metrics::name(family.type);
  json::array samples;
  for (const metrics::Sample& sample : family.samples) {
    json::object one;
    json::object labels;
    for (const auto& [label, text] : sample.labels) labels[label] = text;
    one["labels"] = std::move(labels);
    one["value"] = sample.value;
    if (family.type == metrics::Type::histogram) {
      json::array buckets;
      for (const auto& [bound, count] : sample.buckets) buckets.push_back({bound, count});
      one["buckets"] = std::move(buckets);
      one["count"] = sample.count;
    }
    samples.push_back(std::move(one));
  }
  out["samples"] = std::move(samples);
  return out;
}

Result<json::object> read_metrics(const Live* live, const json::object& request) {
  GH_CHECK(only(request, {"command"}));
  if (live == nullptr || !live->read_metrics) return no_server();
  json::array families;
  for (const metrics::Family& family : live->read_metrics()) families.push_back(to_object(family));
  json::object out;
  out["metrics"] = std::move(families);
  return out;
}

// Somebody is asked something of a device; `nobody`: why it isn't.
Result<json::object> ask_of(const std::function<std::size_t(std::string_view)>* ask, const json::object& request, std::string_view nobody) {
  GH_CHECK(only(request, {"command", "device"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  if (ask == nullptr || !*ask) return no_server();
  const std::size_t asked = (*ask)(id);
  if (asked == 0) return fail(Fault::denied, nobody);
  json::object out;
  out["device"] = id;
  out["asked"] = asked;
  return out;
}

Result<json::object> device_reassess(const Live* live, const json::object& request) {
  return ask_of(live == nullptr ? nullptr : &live->reassess, request, "no endpoint of this device is connected and waiting");
}

json::object to_object(const Admitted::Entry& e) {
  json::object out;
  out["number"] = e.number;
  out["gateway"] = escaped(e.client, 256);
  out["nas"] = e.nas.empty() ? json::value(nullptr) : json::value(escaped(e.nas, 253));
  out["user"] = shown_user(e.user);
  out["station"] = e.station.empty() ? json::value(nullptr) : json::value(escaped(e.station, 253));
  out["address"] = text_or_null(e.address);
  out["accounting"] = e.accounting.empty() ? json::value(nullptr) : json::value(escaped(e.accounting, 253));
  out["device"] = text_or_null(e.device);
  if (!e.also.empty()) {
    json::array& also = out["also"].emplace_array();
    for (const std::string& device : e.also) also.emplace_back(device);
  }
  out["session"] = text_or_null(e.session);
  out["identity"] = e.identity.empty() ? json::value(nullptr) : json::value(escaped(e.identity, 1024));
  out["recommendation"] = name(e.recommendation);
  out["admitted"] = time_value(e.admitted);
  out["connected"] = time_value(e.connected);
  out["heard"] = time_value(e.heard);
  out["octets_in"] = e.octets_in;
  out["octets_out"] = e.octets_out;
  return out;
}

// Those that gateways have let in.
Result<json::object> radius_list(const Live* live, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "from", "limit"}));
  GH_TRY(const auto device, text(request, "device"));
  GH_TRY(const auto from, number(request, "from", ~std::uint64_t{0}));
  GH_TRY(const auto limit, number(request, "limit", 10'000));
  if (live == nullptr || !live->admitted) return no_server();
  const std::size_t most = limit ? std::max<std::size_t>(*limit, 1) : 500;
  const auto entries = live->admitted(from.value_or(0), most + 1);
  json::object out;
  json::array items;
  for (std::size_t i = 0; i < std::min(entries.size(), most); ++i)
    if (!device || entries[i].device == *device || std::find(entries[i].also.begin(), entries[i].also.end(), *device) != entries[i].also.end())
      items.push_back(to_object(entries[i]));
  if (entries.size() > most) out["next"] = entries[most - 1].number;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> radius_disconnect(const Live* live, const json::object& request) {
  return ask_of(live == nullptr ? nullptr : &live->disconnect, request, "no gateway that could be asked has let this device in");
}

}  // namespace

std::optional<Result<json::object>> execute_live(const Live* live, std::string_view command, const json::object& request) {
  if (command == "device.reassess") return device_reassess(live, request);
  if (command == "radius.list") return radius_list(live, request);
  if (command == "radius.disconnect") return radius_disconnect(live, request);
  if (command == "metrics") return read_metrics(live, request);
  return std::nullopt;
}

namespace {

// Whether a record or request says a state in which nobody stays connected.
bool ends_trust(const json::object& request) {
  const auto said = text(request, "state");
  const auto state = said && *said ? device_state(**said) : std::nullopt;
  return state && bars(*state);
}

}  // namespace

// By an operator's word: nobody waits for the device's next assessment.
void cut_off(const Live* live, std::string_view command, const json::object& request, const json::object& done) {
  if (live == nullptr || !live->disconnect) return;
  const auto one = [&](const json::object& named) {
    if (const auto device = needed_text(named, "device")) (void)live->disconnect(*device);
  };
  if (command == "device.revoke" || command == "device.remove" || (command == "device.state" && ends_trust(request))) return one(request);
  if (command != "device.import") return;
  const json::array& records = request.at("records").as_array();
  const json::array& results = done.at("results").as_array();
  for (std::size_t i = 0; i < records.size(); ++i)
    if (results[i].is_null() && ends_trust(records[i].as_object())) one(records[i].as_object());
}

}  // namespace gatehouse::server
