#include "pipeline/verdict/log_checks.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::uint32_t ev_action = 5, ev_variable_driver_config = 0x80000001, ev_efi_action = 0x80000007,
                        ev_variable_authority = 0x800000E0;
constexpr std::string_view global_variable = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
constexpr std::string_view image_security_database = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
constexpr std::string_view actions[] = {"UEFI Debug Mode", "DMA Protection Disabled"};
constexpr std::size_t max_failures = 1000;

}  // namespace

LogChecks::LogChecks(HashAlgorithm bank, std::vector<EvidenceRulesPtr> rules)
    : hasher_(bank), rules_(bank, std::move(rules)) {
  for (const std::byte value : {std::byte{0}, std::byte{0xFF}})
    separator_digests_.push_back(hasher_(ByteVector(4, value)));
  for (const std::string_view action : actions) {
    forbidden_actions_.emplace_back(hasher_(as_bytes(action)), action);
    std::string terminated(action);
    terminated.push_back('\0');
    forbidden_actions_.emplace_back(hasher_(as_bytes(terminated)), action);
  }
}

void LogChecks::fail(const char* code, const eventlog::Event& event, std::string reason) {
  failed_[code] = Status::failed;
  if (failures_.size() < max_failures)
    failures_.push_back({code, index_, event.pcr, std::move(reason)});
  else
    ++left_out_;
}

void LogChecks::see_no_action(const eventlog::Event& event, std::string_view data) {
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
}

// L4, L5: the firmware's PCRs are closed by one separator each.
void LogChecks::see_order(const eventlog::Event& event, std::optional<bool> bound) {
  if (event.pcr >= separators_.size()) return;
  if (event.type == eventlog::ev_separator) {
    if (++separators_[event.pcr] > 1) fail("L4", event, "a second separator in PCR " + std::to_string(event.pcr));
    const bool good = event.data.size() == 4 && (all_of_value(event.data, std::byte{0}) || all_of_value(event.data, std::byte{0xFF}));
    if (!good)
      fail("L4", event, "the separator reports an error of the firmware");
    else if (bound == false)
      fail("L4", event, "the separator's digest isn't that of its data");
  } else if (const eventlog::EventDigest* const digest = event.digest(hasher_.algorithm());
             event.pcr == 7 && digest != nullptr &&
             (equal(digest->value, separator_digests_[0].view()) ||
              equal(digest->value, separator_digests_[1].view()))) {
    // Else what was measured after it, by whom it may be, could pass for the firmware's.
    ++separators_[7];
    fail("L4", event, "the separator of PCR 7 under another event's type");
  } else if (separators_[event.pcr] != 0) {
    const bool allowed = event.pcr == 4 || event.pcr == 5 || (event.pcr == 7 && event.type == ev_variable_authority);
    if (!allowed) fail("L5", event, "an event after the separator of PCR " + std::to_string(event.pcr));
  }
}

// L6 and L9, PCR 7.
void LogChecks::see_secure_boot(const eventlog::Event& event, std::optional<bool> bound) {
  const std::string_view data = as_text(event.data);
  for (const auto& [digest, action] : forbidden_actions_) {
    const eventlog::EventDigest* const measured = event.digest(hasher_.algorithm());
    const bool said = (event.type == ev_efi_action || event.type == ev_action) && data.starts_with(action);
    if (said || (measured != nullptr && equal(digest.view(), measured->value))) {
      fail("L9", event, std::string(action));
      break;
    }
  }
  // Under another type only what was recomputed counts; behind the separator nothing is the firmware's.
  if (separators_[7] != 0 || (event.type != ev_variable_driver_config && bound != true)) return;
  const auto variable = eventlog::parse_uefi_variable(event.data);
  if (!variable) return;
  const bool global = variable->guid == global_variable, database = variable->guid == image_security_database;
  const bool secure_boot = global && variable->name == "SecureBoot", platform_key = global && variable->name == "PK";
  const bool others = (global && variable->name == "KEK") || (database && (variable->name == "db" || variable->name == "dbx"));
  if (!secure_boot && !platform_key && !others) return;
  if (bound != true)
    fail("L6", event, "the digest of variable " + variable->name + (bound ? " isn't that of its data" : " is missing in the bank"));
  if (secure_boot) {
    secure_boot_seen_ = true;
    if (variable->data.size() != 1 || variable->data[0] != std::byte{1}) fail("L6", event, "Secure Boot is off");
  }
  if (platform_key) {
    platform_key_ = true;
    if (variable->data.empty()) fail("L6", event, "there is no platform key: the firmware is in setup mode");
  }
}

void LogChecks::see(const eventlog::Event& event, eventlog::Format format) {
  if (!event.extends()) {
    see_no_action(event, as_text(event.data));
    ++index_;
    return;
  }
  const eventlog::EventDigest* const digest = event.digest(hasher_.algorithm());
  // Whether the digest is that of the data; without one that is L13's matter.
  std::optional<bool> bound;
  if (digest != nullptr) bound = equal(hasher_(event.data).view(), digest->value);
  if (index_ == 0 && format == eventlog::Format::crypto_agile) fail("L3", event, "the first event isn't a Spec ID event");
  if (event.pcr == 0) pcr0_extended_ = true;
  if (digest == nullptr && without_bank_++ == 0)
    fail("L13", event, "the log has no digest for bank " + std::string(name(hasher_.algorithm())));
  if (event.pcr == 10 || event.pcr == 16 || event.pcr == 23)
    fail("L14", event, "a firmware event in PCR " + std::to_string(event.pcr));
  see_order(event, bound);
  if (event.pcr == 7) see_secure_boot(event, bound);
  for (Breach& breach : rules_.see(event)) fail(breach.code, event, std::move(breach.reason));
  ++index_;
}

std::uint64_t LogChecks::finish(std::map<std::string, Status>& checks, std::vector<Finding>& findings) const {
  for (const char* code : {"L1", "L3", "L4", "L5", "L6", "L9", "L13", "L14"}) checks[code] = Status::ok;
  for (const char* code : rules_.enforced()) checks[code] = Status::ok;
  for (const auto& [code, status] : failed_) checks[code] = status;
  const auto report = [&](const std::string& code, const std::string& reason) -> Finding& {
    checks[code] = Status::failed;
    Finding f;
    f.component = "boot";
    f.status = Status::failed;
    f.reason = code + ": " + reason;
    findings.push_back(std::move(f));
    return findings.back();
  };
  for (const Failure& failure : failures_) {
    Finding& f = report(failure.code, failure.reason);
    f.entry = failure.entry;
    f.pcr = failure.pcr;
  }
  for (std::size_t pcr = 0; pcr < separators_.size(); ++pcr)
    if (separators_[pcr] == 0) report("L4", "PCR " + std::to_string(pcr) + " has no separator");
  if (!secure_boot_seen_) report("L6", "PCR 7 has no SecureBoot variable");
  else if (!platform_key_) report("L6", "PCR 7 has no platform key variable");
  for (const Breach& breach : rules_.finish()) report(breach.code, breach.reason);
  return left_out_;
}

}  // namespace gatehouse::pipeline
