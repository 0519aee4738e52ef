#include "pipeline/replay/replay.h"

#include <algorithm>
#include <set>

#include "base/hex.h"

namespace gatehouse::pipeline {

Digest initial_pcr(HashAlgorithm bank, std::uint32_t pcr, std::uint8_t locality) {
  const std::size_t size = digest_size(bank);
  Digest value = Digest::filled(size, pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0});
  if (pcr == 0) value.bytes[size - 1] = std::byte(locality);
  return value;
}

namespace {

constexpr std::size_t piece = std::size_t(1) << 20;
constexpr std::size_t max_templates = 1000;

// A cursor keeps what it is fed until it is parsed: in pieces, a log isn't held twice.
template <class Item, class Cursor>
Result<void> read_all(Cursor& cursor, Bytes bytes, const std::function<Result<void>(const Item&)>& each) {
  for (;;) {
    cursor.feed(bytes.first(std::min(piece, bytes.size())));
    bytes = bytes.subspan(std::min(piece, bytes.size()));
    if (bytes.empty()) cursor.end();
    for (;;) {
      GH_TRY(const Item* const item, cursor.next());
      if (item == nullptr) break;
      GH_CHECK(each(*item));
    }
    if (bytes.empty()) return {};
  }
}

}  // namespace

Result<void> for_each_event(Bytes log, const std::function<void(const eventlog::Event&)>& each) {
  eventlog::Cursor cursor;
  return read_all<eventlog::Event>(cursor, log, [&](const eventlog::Event& event) -> Result<void> {
    each(event);
    return {};
  });
}

Result<void> check_eventlog(Bytes log) {
  return for_each_event(log, [](const eventlog::Event&) {});
}

Result<void> check_ima(Bytes list) {
  ima::Cursor cursor(ima::form_of(list));
  std::set<std::string, std::less<>> templates;
  return read_all<ima::Entry>(cursor, list, [&](const ima::Entry& entry) -> Result<void> {
    if (templates.contains(entry.template_name)) return {};
    if (templates.size() == max_templates) return fail(Fault::limit, "more than 1,000 templates", {}, entry.offset);
    templates.emplace(entry.template_name);
    return {};
  });
}

Result<LogReplay> replay_eventlog(Bytes log) {
  GH_CHECK(check_eventlog(log));
  struct Chain {
    const eventlog::Bank* bank;
    Hasher hasher;
    Pcrs pcrs;
    std::uint64_t digests = 0;
  };
  eventlog::Cursor cursor;
  LogReplay out;
  std::vector<Chain> chains;
  const auto extend = [&](const eventlog::Event& event) -> Result<void> {
    if (out.events++ == 0)
      for (const eventlog::Bank& bank : cursor.banks())
        if (bank.algorithm) chains.push_back({&bank, Hasher(*bank.algorithm), {}, 0});
    if (!event.extends()) return {};
    ++out.extended;
    for (Chain& chain : chains) {
      const eventlog::EventDigest* const digest = event.digest(*chain.bank->algorithm);
      if (digest == nullptr) continue;
      ++chain.digests;
      auto at = chain.pcrs.find(event.pcr);
      if (at == chain.pcrs.end())
        at = chain.pcrs
                 .emplace(event.pcr,
                          initial_pcr(*chain.bank->algorithm, event.pcr, cursor.startup_locality().value_or(0)))
                 .first;
      chain.hasher.extend(at->second, digest->value);
    }
    return {};
  };
  GH_CHECK(read_all<eventlog::Event>(cursor, log, extend));
  out.format = cursor.format();
  out.startup_locality = cursor.startup_locality();
  out.warnings = cursor.warnings();
  for (const eventlog::Bank& bank : cursor.banks()) {
    out.banks.push_back(bank.name());
    if (!bank.algorithm) out.warnings.push_back("bank " + bank.name() + " is unknown and not replayed");
  }
  for (Chain& chain : chains) {
    if (chain.digests == out.extended)
      out.pcrs.emplace_back(*chain.bank->algorithm, std::move(chain.pcrs));
    else
      out.warnings.push_back("bank " + chain.bank->name() + " is left out: " +
                             std::to_string(out.extended - chain.digests) + " events have no digest for it");
  }
  return out;
}

Result<ListReplay> replay_ima(Bytes list) {
  GH_CHECK(check_ima(list));
  ima::Cursor cursor(ima::form_of(list));
  struct Chain {
    Hasher hasher;
    Pcrs pcrs;
  };
  std::vector<Chain> chains;
  for (const HashAlgorithm bank : common_banks) chains.push_back({Hasher(bank), {}});
  ListReplay out;
  constexpr std::size_t max_warnings = 1000;
  std::uint64_t contradictions = 0;
  const auto extend = [&](const ima::Entry& entry) -> Result<void> {
    const bool violation = entry.violation();
    if (violation) ++out.violations;
    ++out.templates[std::string(entry.template_name)];
    if (!out.boot_aggregate && entry.fields.name == ima::boot_aggregate)
      out.boot_aggregate = escaped(entry.fields.algorithm) + ":" + to_hex(entry.fields.digest);
    for (Chain& chain : chains) {
      const HashAlgorithm bank = chain.hasher.algorithm();
      Digest value;
      if (violation) {
        value = Digest::filled(digest_size(bank), std::byte{0xFF});
      } else {
        value = chain.hasher(entry.template_data);
        if (bank == HashAlgorithm::sha1 && !equal(value.view(), entry.recorded_hash)) {
          if (++contradictions <= max_warnings)
            out.warnings.push_back("entry " + std::to_string(out.entries) + " at offset " +
                                   std::to_string(entry.offset) +
                                   ": the recorded template hash contradicts the template data");
          value = Digest(entry.recorded_hash);
        }
      }
      auto at = chain.pcrs.find(entry.pcr);
      if (at == chain.pcrs.end()) at = chain.pcrs.emplace(entry.pcr, initial_pcr(bank, entry.pcr, 0)).first;
      chain.hasher.extend(at->second, value.view());
    }
    ++out.entries;
    return {};
  };
  GH_CHECK(read_all<ima::Entry>(cursor, list, extend));
  if (contradictions > max_warnings)
    out.warnings.push_back(std::to_string(contradictions - max_warnings) + " more contradictions of this kind");
  for (Chain& chain : chains) out.pcrs.emplace_back(chain.hasher.algorithm(), std::move(chain.pcrs));
  return out;
}

}  // namespace gatehouse::pipeline
