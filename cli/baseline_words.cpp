// What the events of two baselines are: a baseline has digests alone, the firmware logs that sessions kept have the rest.
#include <algorithm>
#include <map>

#include "base/hex.h"
#include "cli/device_life.h"
#include "cli/kept.h"
#include "pipeline/replay/replay.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct Described {
  std::string type, text;
};
// By PCR and digest: a digest that is measured twice means the same.
using Events = std::map<std::pair<std::uint32_t, std::string>, Described>;

std::string without_end(std::string_view text) {
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return escaped(text, 200);
}

// What the data says, where its layout is known. The log's texts are the endpoint's: the digest binds only those that are
// what was hashed.
std::string text_of_event(const eventlog::Event& event) {
  switch (event.type) {
    case 0x80000001:  // EV_EFI_VARIABLE_DRIVER_CONFIG
    case 0x80000002:  // EV_EFI_VARIABLE_BOOT
    case 0x8000000C:  // EV_EFI_VARIABLE_BOOT2
    case 0x800000E0:  // EV_EFI_VARIABLE_AUTHORITY
      if (const auto variable = eventlog::parse_uefi_variable(event.data)) return "UEFI variable " + escaped(variable->name, 200);
      return {};
    case 0x05:        // EV_ACTION
    case 0x80000007:  // EV_EFI_ACTION
    case 0x0D:        // EV_IPL
      return without_end(as_text(event.data));
    case 0x08:        // EV_S_CRTM_VERSION
      return "version " + escaped(eventlog::utf16_to_utf8(event.data), 200);
    default:
      return {};
  }
}

// Empty where the session kept none, or its endpoint doesn't send the log itself.
Events events_of(server::StateAccess& access, const std::string& session, HashAlgorithm bank) {
  Events out;
  const auto kept_session = fetch_kept(access, session);
  if (!kept_session) return out;
  const auto kept = decode(*kept_session);
  if (!kept || !(*kept)->attestation) return out;
  ByteVector log;
  for (const pipeline::Segment& segment : (*kept)->attestation->segments)
    if (segment.format == pipeline::Format::eventlog) log.insert(log.end(), segment.bytes.begin(), segment.bytes.end());
  if (log.empty()) return out;
  (void)pipeline::for_each_event(log, [&](const eventlog::Event& event) {
    const eventlog::EventDigest* const digest = event.extends() ? event.digest(bank) : nullptr;
    if (digest != nullptr) out.try_emplace({event.pcr, to_hex(digest->value)}, Described{eventlog::event_type_name(event.type), text_of_event(event)});
  });
  return out;
}

std::string words(const Described& event) { return event.type + (event.text.empty() ? "" : " \"" + event.text + "\""); }

}  // namespace

void describe_differences(server::StateAccess& access, json::object& diff) {
  json::value* const list = diff.if_contains("differences");
  const auto bank = hash_algorithm(shown(diff, "bank"));
  if (list == nullptr || !list->is_array() || !bank) return;
  Events before, after;
  if (const std::string session = shown(diff, "against_session"); session != "-") before = events_of(access, session, *bank);
  if (const std::string session = shown(diff, "session"); session != "-") after = events_of(access, session, *bank);
  for (json::value& value : list->get_array()) {
    json::object* const one = value.if_object();
    if (one == nullptr) continue;
    const std::uint32_t pcr = std::uint32_t(std::stoul(shown(*one, "pcr")));
    const auto was = before.find({pcr, shown(*one, "approved")}), is = after.find({pcr, shown(*one, "measured")});
    if (is == after.end() && was == before.end()) continue;
    const Described& named = is != after.end() ? is->second : was->second;
    (*one)["event_type"] = named.type;
    (*one)["text"] = named.text.empty() ? json::value(nullptr) : json::value(named.text);
    const bool differ = is != after.end() && was != before.end() && words(is->second) != words(was->second);
    (*one)["said"] = differ ? words(was->second) + " became " + words(is->second) : words(named);
  }
}

}  // namespace gatehouse::cli
