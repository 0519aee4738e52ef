#include "refdb/ingest/device_messages.h"

#include <array>

#include "base/hex.h"
#include "base/reader.h"
#include "base/writer.h"
#include "refdb/ingest/decoder_messages.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "refdb/ingest/device_messages.h";
constexpr std::size_t longest_reason = 200;
constexpr std::uint8_t no_recommendation = 255;

// The numbers in the order of N.
template <class Counts>
auto numbers_of(Counts& c) {
  return std::array{&c.devices, &c.baselines, &c.inactive, &c.other_products, &c.components, &c.sha1, &c.dangling};
}

Writer begin(char letter) {
  Writer w;
  w.put(std::uint8_t(letter));
  return w;
}

Result<std::string> take_printable(Reader& r, std::size_t most) {
  GH_TRY(const std::string_view text, take_text32(r));
  if (text.size() > most || !is_printable(text)) return no_answer();
  return std::string(text);
}

Result<std::string> take_device_id(Reader& r) {
  GH_TRY(std::string id, take_printable(r, max_device_bytes));
  if (id.empty()) return no_answer();
  return id;
}

}  // namespace

Result<void> send_devices(StrongTnc& database, const std::function<Result<void>(Bytes)>& send) {
  const auto looked = database.devices({.device = [](const auto&) { return Result<void>(); },
                                        .baseline = [](const auto&) { return Result<void>(); }});
  if (!looked) return std::unexpected(looked.error());
  const auto on_device = [&](const StrongTncDevice& device) -> Result<void> {
    Writer w = begin('V');
    put_text32(w, device.id);
    put_text32(w, device.product);
    w.put(std::uint8_t(device.trusted));
    return send(w.view());
  };
  const auto on_baseline = [&](const StrongTncBaseline& baseline) -> Result<void> {
    Writer w = begin('B');
    put_text32(w, baseline.device);
    w.put(std::uint16_t(baseline.bank));
    for (const auto& [pcr, digests] : baseline.pcrs)
      for (const Digest& digest : digests) {
        w.put(std::uint8_t(pcr));
        w.put_bytes(digest.view());
      }
    return send(w.view());
  };
  GH_TRY(const StrongTncDevices counts, database.devices({.device = on_device, .baseline = on_baseline}));
  for (const auto& [device, why] : counts.refused) {
    Writer w = begin('X');
    put_text32(w, device);
    put_text32(w, why);
    GH_CHECK(send(w.view()));
  }
  GH_TRY(const std::vector<StrongTncGroup> groups, database.groups());
  for (const StrongTncGroup& group : groups) {
    Writer head = begin('G');
    put_text32(head, group.name);
    put_text32(head, group.parent);
    head.put(std::uint8_t(group.is_default));
    GH_CHECK(send(head.view()));
    for (const auto& [letter, list] : {std::pair('M', &group.devices), std::pair('O', &group.products)})
      for (const std::string& text : *list) {
        Writer one = begin(letter);
        put_text32(one, text);
        GH_CHECK(send(one.view()));
      }
    for (const StrongTncEnforcement& e : group.ask) {
      Writer one = begin('R');
      one.put(e.type);
      put_text32(one, e.argument);
      one.put(e.on_fail.value_or(no_recommendation));
      one.put(e.on_noresult.value_or(no_recommendation));
      one.put(e.max_age);
      GH_CHECK(send(one.view()));
    }
  }
  Writer w = begin('N');
  for (const std::uint64_t* const number : numbers_of(counts)) w.put(*number);
  return send(w.view());
}

Result<void> DevicesAnswer::spend(std::uint64_t bytes) {
  if (bytes > left_) return no_answer();
  left_ -= bytes;
  return {};
}

Result<void> DevicesAnswer::take_device(Reader& r) {
  StrongTncDevice device;
  GH_TRY(device.id, take_device_id(r));
  // A row for each, which has the Device ID; products are rows elsewhere.
  GH_CHECK(spend(device.id.size()));
  GH_TRY(device.product, take_printable(r, max_product_bytes));
  GH_TRY(const std::uint8_t trusted, r.get<std::uint8_t>());
  if (trusted > 1) return no_answer();
  device.trusted = trusted != 0;
  listing_.devices.push_back(std::move(device));
  return r.finish();
}

Result<void> DevicesAnswer::take_baseline(Reader& r) {
  StrongTncBaseline baseline;
  GH_TRY(baseline.device, take_device_id(r));
  GH_TRY(const std::uint16_t bank, r.get<std::uint16_t>());
  const auto algorithm = hash_algorithm(bank);
  if (!algorithm || r.empty()) return no_answer();
  baseline.bank = *algorithm;
  GH_CHECK(spend(r.remaining()));
  while (!r.empty()) {
    GH_TRY(const std::uint8_t pcr, r.get<std::uint8_t>());
    if (pcr > 23) return no_answer();
    GH_TRY(const Bytes digest, r.take(digest_size(*algorithm)));
    baseline.pcrs[pcr].emplace_back(digest);
  }
  listing_.baselines.push_back(std::move(baseline));
  return {};
}

Result<void> DevicesAnswer::take_refusal(Reader& r) {
  GH_TRY(std::string device, take_device_id(r));
  GH_CHECK(spend(device.size()));
  GH_TRY(std::string why, take_printable(r, longest_reason));
  listing_.counts.refused.emplace_back(std::move(device), std::move(why));
  return r.finish();
}

Result<void> DevicesAnswer::take_counts(Reader& r) {
  for (std::uint64_t* const number : numbers_of(listing_.counts)) {
    GH_TRY(*number, r.get<std::uint64_t>());
  }
  return r.finish();
}

Result<void> DevicesAnswer::take_group(Reader& r) {
  StrongTncGroup group;
  GH_TRY(group.name, take_printable(r, max_group_name_bytes));
  GH_TRY(group.parent, take_printable(r, max_group_name_bytes));
  GH_TRY(const std::uint8_t is_default, r.get<std::uint8_t>());
  if (group.name.empty() || is_default > 1 || listing_.groups.size() == max_strongtnc_groups) return no_answer();
  GH_CHECK(spend(group.name.size()));
  group.is_default = is_default != 0;
  listing_.groups.push_back(std::move(group));
  return r.finish();
}

// Rows that only name what stands elsewhere take a few bytes of the database: their number is bounded.
Result<void> DevicesAnswer::take_of_group(std::uint8_t letter, Reader& r) {
  if (listing_.groups.empty() || ++group_rows_ > 3 * max_group_rows) return no_answer();
  StrongTncGroup& group = listing_.groups.back();
  GH_CHECK(spend(2));
  if (letter == 'M') {
    GH_TRY(std::string id, take_device_id(r));
    group.devices.push_back(std::move(id));
  } else if (letter == 'O') {
    GH_TRY(std::string product, take_printable(r, max_product_bytes));
    group.products.push_back(std::move(product));
  } else {
    StrongTncEnforcement e;
    GH_TRY(e.type, r.get<std::uint8_t>());
    GH_TRY(e.argument, take_printable(r, 2 * max_argument_bytes + 1));
    for (auto* const slot : {&e.on_fail, &e.on_noresult}) {
      GH_TRY(const std::uint8_t value, r.get<std::uint8_t>());
      if (value != no_recommendation) *slot = value;
      if (value > 3 && value != no_recommendation) return no_answer();
    }
    GH_TRY(e.max_age, r.get<std::uint64_t>());
    if (e.type > 16) return no_answer();
    group.ask.push_back(std::move(e));
  }
  return r.finish();
}

Result<bool> DevicesAnswer::take(Bytes message) {
  auto taken = read(message);
  if (!taken && taken.error().spec == spec) return no_answer();
  return taken;
}

Result<bool> DevicesAnswer::read(Bytes message) {
  Reader r(message, spec);
  GH_TRY(const std::uint8_t letter, r.get<std::uint8_t>());
  switch (letter) {
    case 'V':
      GH_CHECK(take_device(r));
      return false;
    case 'B':
      GH_CHECK(take_baseline(r));
      return false;
    case 'X':
      GH_CHECK(take_refusal(r));
      return false;
    case 'G':
      GH_CHECK(take_group(r));
      return false;
    case 'M':
    case 'O':
    case 'R':
      GH_CHECK(take_of_group(letter, r));
      return false;
    case 'N':
      GH_CHECK(take_counts(r));
      return false;
    case 'E': {
      GH_TRY(Error error, parse_error(r));
      return fail(std::move(error));
    }
    case 'D':
      GH_CHECK(r.finish());
      return true;
    default:
      return no_answer();
  }
}

}  // namespace gatehouse::refdb
