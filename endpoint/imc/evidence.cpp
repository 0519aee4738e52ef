#include "endpoint/imc/evidence.h"

#include "base/file.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t max_log = std::size_t(64) << 20, max_list = std::size_t(512) << 20;
constexpr std::uint32_t ima_pcr = 10;

}  // namespace

Sources files(const std::string& eventlog, const std::string& ima) {
  return {[eventlog] { return read_file(eventlog, max_log); }, [ima] { return read_file(ima, max_list); }};
}

Result<void> EvidenceSet::collect(bool boot, bool ima) {
  boot_.clear();
  ima_.clear();
  if (boot) {
    GH_TRY(const ByteVector log, sources_.eventlog());
    eventlog::Cursor cursor;
    cursor.feed(log);
    cursor.end();
    for (;;) {
      GH_TRY(const eventlog::Event* const event, cursor.next());
      if (event == nullptr) break;
      const eventlog::EventDigest* const digest = event->digest(bank_);
      if (event->extends() && digest != nullptr) boot_.push_back({event->pcr, Digest(digest->value), {}});
    }
    locality_ = cursor.startup_locality();
  }
  if (ima) GH_CHECK(read_ima(ima_));
  return {};
}

Result<void> EvidenceSet::read_ima(std::vector<Measurement>& out) const {
  GH_TRY(const ByteVector list, sources_.ima());
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  Hasher hasher(bank_);
  for (;;) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) return {};
    Measurement m;
    m.pcr = entry->pcr;
    if (entry->violation()) m.value = Digest::filled(digest_size(bank_), std::byte{0xFF});
    else if (bank_ == HashAlgorithm::sha1) m.value = Digest(entry->recorded_hash);
    else m.value = hasher(entry->template_data);
    if (entry->template_name == "ima") m.uri = entry->fields.name;
    else m.uri = std::string(entry->fields.algorithm) + ":" + std::string(entry->fields.name);
    out.push_back(std::move(m));
  }
}

std::uint32_t EvidenceSet::touched() const {
  std::uint32_t pcrs = 0;
  for (const Measurement& m : boot_) pcrs |= 1U << m.pcr;
  for (const Measurement& m : ima_) pcrs |= 1U << m.pcr;
  return pcrs;
}

bool EvidenceSet::fits(const std::map<std::uint32_t, Digest>& boot, const Digest& pcr10, std::uint32_t selected, Hasher& composite, Bytes digest) const {
  composite.start();
  for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
    if ((selected >> pcr & 1) == 0) continue;
    const auto at = boot.find(pcr);
    if (pcr == ima_pcr) composite.update(pcr10.view());
    else composite.update((at != boot.end() ? at->second : Digest::filled(digest_size(bank_), std::byte{0})).view());
  }
  return equal(composite.finish().view(), digest);
}

Result<void> EvidenceSet::match(std::uint32_t selected, HashAlgorithm hash, Bytes pcr_digest) {
  Hasher hasher(bank_), composite(hash);
  std::map<std::uint32_t, Digest> boot;
  for (const Measurement& m : boot_) {
    auto at = boot.find(m.pcr);
    if (at == boot.end()) {
      at = boot.emplace(m.pcr, Digest::filled(digest_size(bank_), std::byte{0})).first;
      if (m.pcr == 0) at->second.bytes[at->second.size - 1U] = std::byte(locality_.value_or(0));
    }
    hasher.extend(at->second, m.value.view());
  }
  Digest pcr10 = Digest::filled(digest_size(bank_), std::byte{0});
  for (const Measurement& m : ima_)
    if (m.pcr == ima_pcr) hasher.extend(pcr10, m.value.view());
  if (fits(boot, pcr10, selected, composite, pcr_digest)) return {};
  std::vector<Measurement> again;
  GH_CHECK(read_ima(again));
  for (std::size_t i = ima_.size(); i < again.size(); ++i) {
    if (again[i].pcr == ima_pcr) hasher.extend(pcr10, again[i].value.view());
    if (!fits(boot, pcr10, selected, composite, pcr_digest)) continue;
    again.resize(i + 1);
    ima_ = std::move(again);
    return {};
  }
  return {};  // the server says what doesn't fit
}

}  // namespace gatehouse::endpoint
