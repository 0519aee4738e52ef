#include "endpoint/imc/attestation/evidence.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>

#include "base/file.h"
#include "base/hex.h"
#include "endpoint/tpm/tpm.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t max_warnings = 16;

Digest reset_value(HashAlgorithm bank, std::uint32_t pcr, std::uint8_t locality) {
  Digest value = Digest::filled(digest_size(bank), pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0});
  if (pcr == 0) value.bytes[value.size - 1U] = std::byte(locality);
  return value;
}

// Appends items, and keeps the PCRs that they lead to.
class Builder {
 public:
  Builder(HashAlgorithm bank, const EvidenceOptions& options, const pts::Component& component)
      : options_(options), hasher_(bank), evidence_(std::make_shared<Evidence>()) {
    evidence_->bank = bank;
    item_.component = component;
    item_.algorithm = pts::algorithm_bit(bank);
    item_.time = options_.time;
    item_.has_pcr_values = options_.pcr_values;
  }

  void add(std::uint32_t pcr, Bytes measurement, std::string_view policy_uri) {
    const auto at = pcrs_.try_emplace(pcr, reset_value(evidence_->bank, pcr, options_.locality)).first;
    const Digest before = at->second;
    hasher_.extend(at->second, measurement);
    item_.pcr = pcr;
    item_.measurement = measurement;
    item_.policy_uri = policy_uri;
    item_.validation = policy_uri.empty() ? pts::Validation::none : pts::Validation::passed;  // only carries the URI
    item_.pcr_before = before.view();
    item_.pcr_after = at->second.view();
    Writer value;
    pts::append_simple_component_evidence(value, item_);
    patnc::append_attribute(out_, 0, patnc::vendor_tcg, pts::type::simple_component_evidence, value.view());
    evidence_->ends.push_back(out_.size());
    evidence_->pcrs |= 1U << pcr;
  }
  void warn(std::string text) {
    if (evidence_->warnings.size() < max_warnings) evidence_->warnings.push_back(std::move(text));
  }
  SharedEvidence finish() {
    evidence_->attributes = std::move(out_).take();
    const auto at = pcrs_.find(ima_pcr);
    evidence_->ima_pcr = at == pcrs_.end() ? reset_value(evidence_->bank, ima_pcr, 0) : at->second;
    return std::move(evidence_);
  }

 private:
  const EvidenceOptions& options_;
  Hasher hasher_;
  std::shared_ptr<Evidence> evidence_;
  pts::SimpleComponentEvidence item_;
  std::map<std::uint32_t, Digest> pcrs_;
  Writer out_;
};

// "sha256:/usr/bin/ls", and the bare name for the template that has no algorithm (spec part 2 §2.4). An entry of a
// template that we don't know has no name: its template's stands for it.
std::string policy_uri(const ima::Entry& entry) {
  const std::string name(entry.fields.name.empty() ? entry.template_name : entry.fields.name);
  if (entry.template_name == "ima") return name;
  return std::string(entry.fields.algorithm.empty() ? "sha1" : entry.fields.algorithm) + ":" + name;
}

// Logs of these sizes that attributes of together `room` bytes hold; 0: there is none.
std::uint16_t parts_within(std::size_t log, std::size_t list, std::size_t room) {
  constexpr std::size_t heads = 64;
  std::uint16_t out = 0;
  if (log != 0 && log + heads <= room) {
    out |= pts::raw::part_firmware_log;
    room -= log + heads;
  }
  if (list != 0 && list + list / 8 + heads <= room) out |= pts::raw::part_ima_list;
  return out;
}

EvidenceOptions options_for(const std::string& path, bool pcr_values, std::uint8_t locality) {
  EvidenceOptions options;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) options.time = measurement_time(std::int64_t(status.st_ctime));
  options.pcr_values = pcr_values;
  options.locality = locality;
  return options;
}

}  // namespace

Result<SharedEvidence> firmware_evidence(Bytes log, HashAlgorithm bank, const EvidenceOptions& options) {
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  Builder builder(bank, options, pts::component_boot);
  for (;;) {
    GH_TRY(const eventlog::Event* const event, cursor.next());
    if (event == nullptr) break;
    if (!event->extends()) continue;
    const eventlog::EventDigest* const digest = event->digest(bank);
    if (digest == nullptr) {
      builder.warn("firmware event at offset " + std::to_string(event->offset) + " has no " + std::string(name(bank)) +
                   " digest: left out");
    } else if (event->pcr >= pcr_count) {
      return fail(Fault::malformed, "event of a PCR that doesn't exist", "TCG PC Client Firmware Profile",
                  event->offset);
    } else {
      builder.add(event->pcr, digest->value, {});
    }
  }
  return builder.finish();
}

Result<SharedEvidence> ima_evidence(Bytes list, HashAlgorithm bank, const EvidenceOptions& options) {
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  Builder builder(bank, options, pts::component_ima);
  Hasher hasher(bank);
  const Digest violation = Digest::filled(digest_size(bank), std::byte{0xFF});
  for (std::size_t index = 0;; ++index) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) break;
    if (entry->pcr != ima_pcr) {
      builder.warn("list entry " + std::to_string(index) + " is of PCR " + std::to_string(entry->pcr) + ": left out");
      continue;
    }
    Digest extended = violation;
    if (!entry->violation())
      extended = bank == HashAlgorithm::sha1 ? Digest(entry->recorded_hash) : hasher(entry->template_data);
    if (extended.size != digest_size(bank))
      return fail(Fault::malformed, "template hash isn't as long as SHA-1", "kernel ima_fs.c", entry->offset);
    builder.add(entry->pcr, extended.view(), policy_uri(*entry));
  }
  return builder.finish();
}

std::optional<std::size_t> items_matching(const Evidence& ima, const Digest& pcr10) {
  if (ima.count() != 0 && ima.ima_pcr == pcr10) return ima.count();
  const std::size_t size = digest_size(ima.bank);
  Hasher hasher(ima.bank);
  Digest value = reset_value(ima.bank, ima_pcr, 0);
  for (std::size_t i = 0; i < ima.count(); ++i) {
    hasher.extend(value, ima.attribute(i).last(size));  // the measurement ends the attribute
    if (value == pcr10) return i + 1;
  }
  return std::nullopt;
}

std::optional<std::uint8_t> startup_locality(Bytes log) {
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (;;) {
    const auto event = cursor.next();
    if (!event || *event == nullptr) return cursor.startup_locality();
  }
}

std::string measurement_time(std::int64_t seconds) {
  const std::time_t time = std::time_t(seconds);
  std::tm utc{};
  std::array<char, 32> text{};
  if (seconds < 0 || ::gmtime_r(&time, &utc) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc) != 20)
    return "0000-00-00T00:00:00Z";
  return text.data();
}

std::vector<SymlinkTarget> directory_symlinks(std::string_view directory) {
  constexpr std::size_t max_links = 4096;
  std::vector<SymlinkTarget> out;
  std::string base(directory);
  if (base.empty() || base.front() != '/' || base.size() > 4096 || base.find('\0') != std::string::npos) return out;
  DIR* const stream = ::opendir(base.c_str());
  if (stream == nullptr) return out;
  if (base.back() != '/') base += '/';
  while (const dirent* const child = ::readdir(stream)) {
    const std::string link = base + child->d_name;
    std::array<char, 4096> target{};
    struct stat status {};
    if (out.size() >= max_links) break;
    const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
    if (size <= 0 || std::size_t(size) >= target.size()) continue;
    if (::stat(link.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    // As strongSwan's client: "/" before what the link says, so that bin -> usr/bin becomes /usr/bin.
    out.push_back({link, "/" + std::string(target.data(), std::size_t(size))});
  }
  ::closedir(stream);
  std::sort(out.begin(), out.end(), [](const SymlinkTarget& a, const SymlinkTarget& b) { return a.link < b.link; });
  return out;
}

Result<SharedEvidence> FileEvidence::firmware(HashAlgorithm bank) {
  GH_TRY(const ByteVector log, read_file(event_log_, max_log));
  auto evidence = firmware_evidence(log, bank, options_for(event_log_, pcr_values_, startup_locality(log).value_or(0)));
  if (!evidence) return std::unexpected(std::move(evidence).error().from(event_log_));
  return evidence;
}

Result<SharedEvidence> FileEvidence::ima(HashAlgorithm bank) {
  GH_TRY(const ByteVector list, read_file(ima_list_, max_list));
  auto evidence = ima_evidence(list, bank, options_for(ima_list_, pcr_values_, 0));
  if (!evidence) return std::unexpected(std::move(evidence).error().from(ima_list_));
  return evidence;
}

std::optional<std::uint8_t> FileEvidence::locality() {
  const auto log = read_file(event_log_, max_log);
  if (!log) return std::nullopt;
  return startup_locality(*log).value_or(0);  // without the event the firmware started at 0 (spec part 2 §6.5)
}

std::uint16_t FileEvidence::raw_parts(std::size_t room) {
  // The kernel says how long its lists are only to who reads them.
  const auto size_of = [](const std::string& path, std::size_t limit) {
    const auto file = read_file(path, limit);
    return file ? file->size() : 0;
  };
  return parts_within(size_of(event_log_, std::min(max_log, room)), size_of(ima_list_, std::min(max_list, room)), room);
}

Result<ByteVector> FileEvidence::raw_firmware() { return read_file(event_log_, max_log); }
Result<ByteVector> FileEvidence::raw_ima() { return read_file(ima_list_, max_list); }

Result<SharedEvidence> FixedEvidence::firmware(HashAlgorithm bank) {
  if (boot_ == nullptr || boot_->bank != bank) return fail(Fault::environment, "no firmware evidence in this bank");
  return boot_;
}

Result<SharedEvidence> FixedEvidence::ima(HashAlgorithm bank) {
  if (list_ == nullptr || list_->bank != bank) return fail(Fault::environment, "no IMA evidence in this bank");
  return list_;
}

std::uint16_t FixedEvidence::raw_parts(std::size_t room) {
  return parts_within(raw_log_.size(), raw_list_.size(), room);
}

Result<ByteVector> FixedEvidence::raw_firmware() { return raw_log_; }
Result<ByteVector> FixedEvidence::raw_ima() { return raw_list_; }

}  // namespace gatehouse::endpoint
