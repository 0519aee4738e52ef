#include "pipeline/replay/replay.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::pipeline {

Digest initial_pcr(HashAlgorithm bank, std::uint32_t pcr, std::uint8_t locality) {
  const std::size_t size = digest_size(bank);
  Digest value = Digest::filled(size, pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0});
  if (pcr == 0) value.bytes[size - 1] = std::byte(locality);
  return value;
}

Result<LogReplay> replay_eventlog(Bytes log, const std::function<void(const eventlog::Event&)>& each) {
  struct Chain {
    const eventlog::Bank* bank;
    Hasher hasher;
    Pcrs pcrs;
    std::uint64_t digests = 0;
  };
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  LogReplay out;
  std::vector<Chain> chains;
  for (;;) {
    GH_TRY(const eventlog::Event* const event, cursor.next());
    if (event == nullptr) break;
    if (out.events++ == 0)
      for (const eventlog::Bank& bank : cursor.banks())
        if (bank.algorithm) chains.push_back({&bank, Hasher(*bank.algorithm), {}, 0});
    if (each) each(*event);
    if (!event->extends()) continue;
    ++out.extended;
    for (Chain& chain : chains) {
      const eventlog::EventDigest* const digest = event->digest(*chain.bank->algorithm);
      if (digest == nullptr) continue;
      ++chain.digests;
      auto at = chain.pcrs.find(event->pcr);
      if (at == chain.pcrs.end())
        at = chain.pcrs.emplace(event->pcr, initial_pcr(*chain.bank->algorithm, event->pcr,
                                                        cursor.startup_locality().value_or(0))).first;
      chain.hasher.extend(at->second, digest->value);
    }
  }
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
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  struct Chain {
    Hasher hasher;
    Pcrs pcrs;
  };
  std::vector<Chain> chains;
  for (const HashAlgorithm bank : common_banks) chains.push_back({Hasher(bank), {}});
  ListReplay out;
  constexpr std::size_t max_warnings = 1000;
  std::uint64_t contradictions = 0;
  for (;;) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) break;
    const bool violation = entry->violation();
    if (violation) ++out.violations;
    ++out.templates[std::string(entry->template_name)];
    if (!out.boot_aggregate && entry->fields.name == ima::boot_aggregate)
      out.boot_aggregate = escaped(entry->fields.algorithm) + ":" + to_hex(entry->fields.digest);
    for (Chain& chain : chains) {
      const HashAlgorithm bank = chain.hasher.algorithm();
      Digest value;
      if (violation) {
        value = Digest::filled(digest_size(bank), std::byte{0xFF});
      } else {
        value = chain.hasher(entry->template_data);
        if (bank == HashAlgorithm::sha1 && !equal(value.view(), entry->recorded_hash)) {
          if (++contradictions <= max_warnings)
            out.warnings.push_back("entry " + std::to_string(out.entries) + " at offset " + std::to_string(entry->offset) +
                                   ": the recorded template hash contradicts the template data");
          value = Digest(entry->recorded_hash);
        }
      }
      auto at = chain.pcrs.find(entry->pcr);
      if (at == chain.pcrs.end()) at = chain.pcrs.emplace(entry->pcr, initial_pcr(bank, entry->pcr, 0)).first;
      chain.hasher.extend(at->second, value.view());
    }
    ++out.entries;
  }
  if (contradictions > max_warnings)
    out.warnings.push_back(std::to_string(contradictions - max_warnings) + " more contradictions of this kind");
  for (Chain& chain : chains) out.pcrs.emplace_back(chain.hasher.algorithm(), std::move(chain.pcrs));
  return out;
}

}  // namespace gatehouse::pipeline
