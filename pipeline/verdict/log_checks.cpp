#include "pipeline/verdict/log_checks.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::uint32_t ev_variable_driver_config = 0x80000001, ev_efi_action = 0x80000007, ev_variable_authority = 0x800000E0;
constexpr std::string_view global_variable = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
constexpr std::size_t max_failures = 100;

}  // namespace

void LogChecks::fail(const char* code, const eventlog::Event& event, std::string reason) {
  if (failures_.size() < max_failures) failures_.push_back({code, index_, event.pcr, std::move(reason)});
}

void LogChecks::see(const eventlog::Event& event, eventlog::Format format) {
  const std::string_view data = as_text(event.data);
  const eventlog::EventDigest* const digest = event.digest(hasher_.algorithm());
  const auto recomputed = [&] { return digest != nullptr && equal(hasher_(event.data).view(), digest->value); };
  if (!event.extends()) {
    for (const eventlog::EventDigest& d : event.digests)
      if (!all_of_value(d.value, std::byte{0})) {
        fail("L3", event, "EV_NO_ACTION with a digest that isn't zero");
        break;
      }
    if (data.starts_with(std::string_view("Spec ID Event03\0", 16))) {
      if (index_ != 0 || spec_id_seen_) fail("L3", event, "a Spec ID event that isn't the first event");
      spec_id_seen_ = true;
    }
    if (data.starts_with(std::string_view("StartupLocality\0", 16))) {
      if (locality_seen_) fail("L3", event, "StartupLocality a second time");
      if (pcr0_extended_) fail("L3", event, "StartupLocality after PCR 0 was extended");
      locality_seen_ = true;
    }
    ++index_;
    return;
  }
  if (index_ == 0 && format == eventlog::Format::crypto_agile) fail("L3", event, "the first event isn't a Spec ID event");
  if (event.pcr == 0) pcr0_extended_ = true;
  if (digest == nullptr && without_bank_++ == 0)
    fail("L13", event, "the log has no digest for bank " + std::string(name(hasher_.algorithm())));
  if (event.pcr == 10 || event.pcr == 16 || event.pcr == 23) fail("L14", event, "a firmware event in PCR " + std::to_string(event.pcr));
  if (event.pcr < 8) {
    if (event.type == eventlog::ev_separator) {
      if (++separators_[event.pcr] > 1) fail("L4", event, "a second separator in PCR " + std::to_string(event.pcr));
      const bool good = event.data.size() == 4 && (all_of_value(event.data, std::byte{0}) || all_of_value(event.data, std::byte{0xFF}));
      if (!good) fail("L4", event, "the separator reports an error of the firmware");
      else if (digest != nullptr && !recomputed()) fail("L4", event, "the separator's digest isn't that of its data");
    } else if (separators_[event.pcr] != 0) {
      const bool allowed = event.pcr == 4 || event.pcr == 5 || (event.pcr == 7 && event.type == ev_variable_authority);
      if (!allowed) fail("L5", event, "an event after the separator of PCR " + std::to_string(event.pcr));
    }
  }
  if (event.pcr == 7 && event.type == ev_variable_driver_config) {
    if (const auto variable = eventlog::parse_uefi_variable(event.data);
        variable && variable->name == "SecureBoot" && variable->guid == global_variable)
      secure_boot_ = recomputed() && variable->data.size() == 1 && variable->data[0] == std::byte{1};
  }
  if (event.pcr == 7 && (event.type == ev_efi_action || event.type == 5) &&
      (data.starts_with("UEFI Debug Mode") || data.starts_with("DMA Protection Disabled"))) {
    debug_ = true;
    fail("L9", event, std::string(data.substr(0, 40)));
  }
  ++index_;
}

void LogChecks::finish(std::map<std::string, Status>& checks, std::vector<Finding>& findings) const {
  for (const char* code : {"L1", "L3", "L4", "L5", "L9", "L13", "L14"}) checks[code] = Status::ok;
  if (secure_boot_) checks["L6"] = *secure_boot_ ? Status::ok : Status::failed;
  const auto report = [&](const std::string& code, std::string reason) {
    Finding f;
    f.component = "boot";
    f.status = Status::failed;
    f.reason = code + ": " + std::move(reason);
    findings.push_back(std::move(f));
  };
  for (const Failure& failure : failures_) {
    checks[failure.code] = Status::failed;
    Finding f;
    f.component = "boot";
    f.entry = failure.entry;
    f.pcr = failure.pcr;
    f.status = Status::failed;
    f.reason = failure.code + ": " + failure.reason;
    findings.push_back(std::move(f));
  }
  for (std::size_t pcr = 0; pcr < separators_.size(); ++pcr)
    if (separators_[pcr] == 0) {
      checks["L4"] = Status::failed;
      report("L4", "PCR " + std::to_string(pcr) + " has no separator");
    }
  if (secure_boot_ && !*secure_boot_) report("L6", "Secure Boot is off");
}

}  // namespace gatehouse::pipeline
