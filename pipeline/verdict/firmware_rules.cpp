#include "pipeline/verdict/firmware_rules.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"
#include "base/pattern.h"
#include "pipeline/verdict/kernel_words.h"
#include "wire/eventlog/signature_list.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::uint32_t ev_variable_authority = 0x800000E0;
constexpr std::string_view image_security_database = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
constexpr std::string_view shim = "605dab50-e046-4300-abb6-3dd810dd8b23";
// What shim measures into PCR 7 of its own state; everything else there says who signed what was loaded.
constexpr std::string_view shim_state[] = {"SbatLevel", "MokSBState", "MokListTrusted"};
// Texts of the firmware in PCR 4.
constexpr std::string_view boot_actions[] = {"Calling EFI Application from Boot Option",
                                             "Returning from EFI Application from Boot Option",
                                             "BOOT ATTEMPTS OMITTED"};
// Before what GRUB measures into PCR 8, and whether that is a kernel's command line; older ones have no colon.
struct Label {
  std::string_view text;
  bool command_line;
};
constexpr Label labels[] = {{"grub_cmd: ", false},
                            {"kernel_cmdline: ", true},
                            {"module_cmdline: ", false},
                            {"grub_kernel_cmdline ", true},
                            {"grub_cmd ", false}};
// Commands of GRUB whose arguments are a command line. A menu entry is text until it is chosen; what it does then is
// measured command by command.
constexpr std::string_view loaders[] = {"linux",     "linuxefi",   "linux16",       "chainloader",
                                        "multiboot", "multiboot2", "xen_hypervisor"};
constexpr std::string_view menus[] = {"menuentry", "submenu"};
constexpr std::size_t max_text = 65'536;
// A kernel takes 2,047 bytes (x86, arm64), and GRUB puts BOOT_IMAGE= in front.
constexpr std::size_t max_command_line = 2047 - 11;

bool holds(const DigestSet& set, const Digest& digest) { return std::binary_search(set.begin(), set.end(), digest); }
bool one_of(std::span<const std::string_view> texts, std::string_view text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}
std::string short_text(std::string_view text) { return '"' + escaped(text, 128) + '"'; }
std::string of(const EvidenceRules& rules) { return " (rules \"" + rules.name + "\")"; }

// "sbat,1,2023012900\nshim,2\ngrub,3\n"
std::optional<std::uint32_t> generation_of(std::string_view level, std::string_view component) {
  std::optional<std::uint32_t> out;
  while (!level.empty()) {
    const std::string_view line = level.substr(0, level.find('\n'));
    level.remove_prefix(std::min(line.size() + 1, level.size()));
    if (line.size() <= component.size() || !line.starts_with(component) || line[component.size()] != ',') continue;
    const std::string_view number = line.substr(component.size() + 1);
    std::uint32_t value = 0;
    const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), value);
    const std::string_view behind = number.substr(std::size_t(end - number.data()));
    if (code != std::errc() ||
        !(behind.empty() || behind.front() == ',' || behind.front() == '\r' || behind.front() == '\0'))
      continue;
    if (!out || value < *out) out = value;
  }
  return out;
}

// SHA-256 of the certificate of an EV_EFI_VARIABLE_AUTHORITY: the whole data (shim's own), or what is behind the
// owner's GUID (db).
bool allows_certificate(const DigestSet& set, Bytes data) {
  if (holds(set, digest_of(HashAlgorithm::sha256, data))) return true;
  return data.size() > 16 && holds(set, digest_of(HashAlgorithm::sha256, data.subspan(16)));
}

// Older versions of shim measured its structure's padding, too: 5 bytes behind the variable.
Result<eventlog::UefiVariable> variable_of(Bytes measured) {
  constexpr std::size_t padding = 5;
  auto out = eventlog::parse_uefi_variable(measured);
  if (!out && measured.size() > padding) out = eventlog::parse_uefi_variable(measured.first(measured.size() - padding));
  return out;
}

bool is_signature_lists(Bytes data) {
  eventlog::SignatureLists lists(data);
  for (;;) {
    const auto next = lists.next();
    if (!next) return false;
    if (!*next) return true;
  }
}

// Of `wanted` those that the lists don't hold; nullopt: these aren't signature lists.
std::optional<DigestSet> missing_of(const DigestSet& wanted, Bytes data) {
  std::vector<bool> found(wanted.size());
  const auto mark = [&](const Digest& digest) {
    const auto at = std::lower_bound(wanted.begin(), wanted.end(), digest);
    if (at != wanted.end() && *at == digest) found[std::size_t(at - wanted.begin())] = true;
  };
  eventlog::SignatureLists lists(data);
  for (;;) {
    const auto next = lists.next();
    if (!next) return std::nullopt;
    if (!*next) break;
    switch ((*next)->kind) {
      case eventlog::Signature::Kind::sha256:
        mark(Digest((*next)->data));
        break;
      case eventlog::Signature::Kind::x509_sha256:
        mark(Digest((*next)->data.first(32)));
        break;
      case eventlog::Signature::Kind::x509:
        mark(digest_of(HashAlgorithm::sha256, (*next)->data));
        break;
      case eventlog::Signature::Kind::other:
        break;
    }
  }
  DigestSet out;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!found[i]) out.push_back(wanted[i]);
  return out;
}

bool matches_one(const std::vector<std::string>& patterns, const KernelWord& word) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& p) { return pattern_matches(p, word.text); });
}

}  // namespace

FirmwareRuleChecks::FirmwareRuleChecks(HashAlgorithm bank, std::vector<EvidenceRulesPtr> rules)
    : hasher_(bank), enforced_(enforced_codes(rules)) {
  for (EvidenceRulesPtr& one : rules) {
    Rule rule;
    if (const auto& lines = one->firmware.command_line) {
      for (const std::string& pattern : lines->required) rule.command_line.required.push_back(kernel_pattern(pattern));
      for (const std::string& pattern : lines->forbidden)
        rule.command_line.forbidden.push_back(kernel_pattern(pattern));
    }
    rule.rules = std::move(one);
    rules_.push_back(std::move(rule));
  }
  if (rules_.empty()) return;
  for (const std::string_view action : boot_actions) {
    harmless_.push_back(hasher_(as_bytes(action)));
    harmless_.push_back(hasher_(as_bytes(std::string(action) + '\0')));
  }
  for (const std::byte value : {std::byte{0}, std::byte{0xFF}}) harmless_.push_back(hasher_(ByteVector(4, value)));
  std::sort(harmless_.begin(), harmless_.end());
}

std::vector<const char*> enforced_codes(const std::vector<EvidenceRulesPtr>& rules) {
  std::vector<const char*> out;
  const auto any = [&](const char* code, auto&& wanted) {
    if (std::any_of(rules.begin(), rules.end(), [&](const EvidenceRulesPtr& r) { return bool(wanted(r->firmware)); }))
      out.push_back(code);
  };
  any("L6", [](const FirmwareRules& f) { return f.secure_boot; });
  any("L7", [](const FirmwareRules& f) { return f.revoked.has_value(); });
  any("L8", [](const FirmwareRules& f) { return f.authorities.has_value(); });
  any("L9", [](const FirmwareRules& f) { return f.no_debug; });
  any("L10", [](const FirmwareRules& f) { return f.boot_loaders.has_value(); });
  any("L11", [](const FirmwareRules& f) { return f.sbat.has_value(); });
  any("L12", [](const FirmwareRules& f) { return f.command_line.has_value(); });
  return out;
}

// The data that the digest is of. Older versions of shim logged a byte more.
std::optional<Bytes> FirmwareRuleChecks::recomputed(const eventlog::Event& event, Bytes measured) {
  if (equal(hasher_(event.data).view(), measured)) return event.data;
  if (event.data.empty()) return std::nullopt;
  const Bytes shorter = event.data.first(event.data.size() - 1);
  if (equal(hasher_(shorter).view(), measured)) return shorter;
  return std::nullopt;
}

std::vector<Breach> FirmwareRuleChecks::see(const eventlog::Event& event) {
  std::vector<Breach> out;
  if (rules_.empty()) return out;
  if (event.pcr == 7) see_secure_boot(event, out);
  if (event.pcr == 8 || event.pcr == 12) see_command(event, out);
  if (event.pcr != 4 && event.pcr != 14) return out;
  const eventlog::EventDigest* const found = event.digest(hasher_.algorithm());
  const Bytes measured = found != nullptr ? found->value : Bytes();
  if (event.pcr == 4) {
    see_boot_loader(Digest(measured), out);
  } else if (as_text(event.data).starts_with("MokSBState") && !equal(measured, hasher_(ByteVector(1)).view())) {
    // The same state as in PCR 7; here the name is no more than the log's word, but it is one against itself.
    for (const Rule& rule : rules_)
      if (rule.rules->firmware.sbat)
        out.push_back({"L11", "MokSBState is set: shim validates no signatures" + of(*rule.rules)});
  }
  return out;
}

void FirmwareRuleChecks::see_secure_boot(const eventlog::Event& event, std::vector<Breach>& out) {
  const eventlog::EventDigest* const found = event.digest(hasher_.algorithm());
  const Digest digest = found != nullptr ? Digest(found->value) : Digest();
  const std::optional<Bytes> data = recomputed(event, digest.view());
  if (!data) {
    // It may be an authority or shim's state: only a digest that is allowed as such says what it is.
    for (const Rule& rule : rules_) {
      const FirmwareRules& f = rule.rules->firmware;
      if (f.authorities && holds(*f.authorities, digest)) continue;
      constexpr std::string_view why = "the digest of an event in PCR 7 isn't that of its data";
      if (f.authorities) out.push_back({"L8", std::string(why) + of(*rule.rules)});
      if (f.sbat) out.push_back({"L11", std::string(why) + of(*rule.rules)});
    }
    return;
  }
  if (data->size() == 4 && (all_of_value(*data, std::byte{0}) || all_of_value(*data, std::byte{0xFF}))) {
    separator_ = true;
    return;
  }
  const auto variable = variable_of(*data);
  if (variable && variable->guid == shim) see_shim(*variable, out);
  const bool database = variable && variable->guid == image_security_database;
  if (database && variable->name == "dbx" && !separator_) see_database(*variable, out);
  if (separator_) {
    const bool state = variable && variable->guid == shim && one_of(shim_state, variable->name);
    if (!state) see_authority(digest, variable ? &*variable : nullptr, out);
    return;
  }
  // Before its separator PCR 7 has the databases, each once; an option ROM's authority is named after the database that
  // vouches for it.
  const bool db = database && variable->name == "db";
  const bool configuration = db && !database_ && is_signature_lists(variable->data);
  if (configuration) database_ = true;
  if ((db && !configuration) || event.type == ev_variable_authority)
    see_authority(digest, variable ? &*variable : nullptr, out);
}

// L7: after the separator anybody may have extended the PCR with whatever he likes.
void FirmwareRuleChecks::see_database(const eventlog::UefiVariable& variable, std::vector<Breach>& out) {
  revocations_ = true;
  for (const Rule& rule : rules_) {
    const auto& revoked = rule.rules->firmware.revoked;
    if (!revoked) continue;
    const auto missing = missing_of(*revoked, variable.data);
    if (!missing)
      out.push_back({"L7", "dbx isn't a list of signatures" + of(*rule.rules)});
    else if (!missing->empty())
      out.push_back({"L7", std::to_string(missing->size()) + " of " + std::to_string(revoked->size()) +
                               " revocations aren't in dbx, among them sha256:" + missing->front().hex() +
                               of(*rule.rules)});
  }
}

void FirmwareRuleChecks::see_shim(const eventlog::UefiVariable& variable, std::vector<Breach>& out) {
  for (const Rule& rule : rules_) {
    const auto& wanted = rule.rules->firmware.sbat;
    if (!wanted) continue;
    if (variable.name == "MokSBState" && !all_of_value(variable.data, std::byte{0}))
      out.push_back({"L11", "MokSBState is set: shim validates no signatures" + of(*rule.rules)});
    if (variable.name != "SbatLevel") continue;
    sbat_ = true;
    for (const SbatGeneration& least : *wanted) {
      const auto generation = generation_of(as_text(variable.data), least.component);
      if (!generation || *generation < least.generation)
        out.push_back({"L11", "SbatLevel has " + least.component +
                                  (generation ? " at " + std::to_string(*generation) : " not at all") + ", " +
                                  std::to_string(least.generation) + " is the least" + of(*rule.rules)});
    }
  }
}

void FirmwareRuleChecks::see_authority(const Digest& digest, const eventlog::UefiVariable* variable,
                                       std::vector<Breach>& out) {
  for (const Rule& rule : rules_) {
    const auto& allowed = rule.rules->firmware.authorities;
    if (!allowed || holds(*allowed, digest)) continue;
    if (variable != nullptr && allows_certificate(*allowed, variable->data)) continue;
    std::string what = "an event after the separator of PCR 7";
    if (variable != nullptr) {
      const Bytes data = variable->data;
      const bool owned = variable->guid == image_security_database && data.size() > 16;
      what = "authority sha256:" + digest_of(HashAlgorithm::sha256, owned ? data.subspan(16) : data).hex() + " of " +
             short_text(variable->name);
    }
    out.push_back({"L8", what + " isn't allowed" + of(*rule.rules)});
  }
}

void FirmwareRuleChecks::see_boot_loader(const Digest& digest, std::vector<Breach>& out) {
  if (holds(harmless_, digest)) return;
  boot_loader_ = true;
  for (const Rule& rule : rules_) {
    const auto& allowed = rule.rules->firmware.boot_loaders;
    if (!allowed || holds(*allowed, digest)) continue;
    out.push_back({"L10", (digest.size == 0 ? std::string("a measurement without a digest in the bank")
                                            : std::string(name(hasher_.algorithm())) + ":" + digest.hex()) +
                              " isn't an allowed boot loader" + of(*rule.rules)});
  }
}

// What was measured of PCR 8 and 12 as text: GRUB leaves its label out, and the terminating NUL, or only the former
// (RHEL 8); an older systemd-boot logs a byte less than it measured. Nullopt: none of these, or no text.
std::optional<FirmwareRuleChecks::Text> FirmwareRuleChecks::command_text(const eventlog::Event& event, Bytes measured) {
  if (event.data.size() > max_text) return std::nullopt;
  const auto fits = [&](Bytes bytes) { return equal(hasher_(bytes).view(), measured); };
  Text out;
  ByteVector data;
  if (const auto whole = recomputed(event, measured)) {
    data = to_vector(*whole);
  } else {
    for (const Label& label : labels) {
      if (!as_text(event.data).starts_with(label.text)) continue;
      const Bytes rest = event.data.subspan(label.text.size());
      const bool terminated = !rest.empty() && rest.back() == std::byte{0};
      if (fits(rest) || (terminated && fits(rest.first(rest.size() - 1)))) {
        data = to_vector(rest);
        out.command_line = label.command_line;
        break;
      }
    }
    if (data.empty()) {
      ByteVector longer = to_vector(event.data);
      longer.push_back(std::byte{0});
      if (!fits(longer)) return std::nullopt;
      data = std::move(longer);
    }
  }
  std::string_view text = as_text(data);
  while (text.ends_with('\0')) text.remove_suffix(1);
  if (text.find('\0') == text.npos) {
    out.text = text;
    return out;
  }
  // UTF-16: nothing but a command line comes like this.
  if (data.size() % 2 != 0) return std::nullopt;
  out.text = eventlog::utf16_to_utf8(data);
  while (out.text.ends_with('\0')) out.text.pop_back();
  if (out.text.find('\0') != out.text.npos) return std::nullopt;
  out.command_line = true;
  out.end = out.text.find('\n');  // there the kernel's EFI stub ends the options
  return out;
}

void FirmwareRuleChecks::see_command(const eventlog::Event& event, std::vector<Breach>& out) {
  if (std::none_of(rules_.begin(), rules_.end(),
                   [](const Rule& r) { return r.rules->firmware.command_line.has_value(); }))
    return;
  const eventlog::EventDigest* const found = event.digest(hasher_.algorithm());
  const Bytes measured = found != nullptr ? found->value : Bytes();
  const std::string place = "PCR " + std::to_string(event.pcr);
  const auto breach = [&](const Rule& rule, std::string what) {
    out.push_back({"L12", std::move(what) + of(*rule.rules)});
  };
  if (event.data.size() == 4 && all_of_value(event.data, event.data[0]) && holds(harmless_, Digest(measured))) return;
  const auto text = command_text(event, measured);
  if (!text) {
    for (const Rule& rule : rules_)
      if (rule.rules->firmware.command_line) breach(rule, "the text in " + place + " can't be recomputed");
    return;
  }
  const std::vector<KernelWord> words = kernel_words(text->text);
  const std::string_view first = words.empty() ? std::string_view() : words.front().text;
  const bool is_line = text->command_line || event.pcr == 12 || first.starts_with('/') || first.starts_with('(') ||
                       one_of(loaders, first);
  if (!is_line && one_of(menus, first)) return;
  command_line_ = command_line_ || is_line;
  std::vector<KernelWord> parameters =
      kernel_words(std::string_view(text->text).substr(0, std::min(text->end, max_command_line)));
  parameters.erase(
      std::find_if(parameters.begin(), parameters.end(), [](const KernelWord& w) { return w.text == "--"; }),
      parameters.end());
  for (const Rule& rule : rules_) {
    if (!rule.rules->firmware.command_line) continue;
    const auto bad = std::find_if(words.begin(), words.end(),
                                  [&](const KernelWord& w) { return matches_one(rule.command_line.forbidden, w); });
    if (bad != words.end()) breach(rule, "the text in " + place + " has the forbidden word " + short_text(bad->text));
    if (!is_line) continue;
    for (std::size_t i = 0; i < rule.command_line.required.size(); ++i) {
      const std::string& pattern = rule.command_line.required[i];
      const auto good = std::find_if(parameters.begin(), parameters.end(),
                                     [&](const KernelWord& w) { return pattern_matches(pattern, w.text); });
      const std::string& shown = rule.rules->firmware.command_line->required[i];
      if (good == parameters.end()) {
        breach(rule, "the command line in " + place + " has no word " + short_text(shown));
        continue;
      }
      // Of a parameter that comes twice most often the last one counts.
      const auto last = std::find_if(parameters.rbegin(), parameters.rend(),
                                     [&](const KernelWord& w) { return w.name == good->name; });
      if (!matches_one(rule.command_line.required, *last))
        breach(rule,
               "the command line in " + place + " overrules " + short_text(shown) + " by " + short_text(last->text));
    }
  }
}

std::vector<Breach> FirmwareRuleChecks::finish() const {
  std::vector<Breach> out;
  for (const Rule& rule : rules_) {
    const FirmwareRules& f = rule.rules->firmware;
    const auto add = [&](const char* code, std::string_view what) {
      out.push_back({code, std::string(what) + of(*rule.rules)});
    };
    if (f.revoked && !revocations_) add("L7", "PCR 7 has no dbx variable before its separator");
    if (f.boot_loaders && !boot_loader_) add("L10", "PCR 4 has no boot loader");
    if (f.sbat && !sbat_) add("L11", "PCR 7 has no SbatLevel");
    if (f.command_line && !command_line_) add("L12", "PCR 8 and PCR 12 have no command line");
  }
  return out;
}

}  // namespace gatehouse::pipeline
