#include "cli/session_why.h"

#include <algorithm>
#include <utility>

#include "base/hex.h"
#include "cli/state_access.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

// What it means that a check failed (docs/checks.md), and what to do.
struct Check {
  std::string_view code, meaning, todo;
};
constexpr std::string_view see_quote =
    "attest once more; if it fails again, the endpoint's TPM, its logs or its TNC client can't be trusted as they are";
constexpr Check checks[] = {
    {"Q1", "the quote isn't signed by this session's attestation key", see_quote},
    {"Q2", "the signed structure wasn't made by a TPM", see_quote},
    {"Q3", "the signed structure is no quote", see_quote},
    {"Q4", "the quote is over another nonce: it may be an old one that is shown again", see_quote},
    {"Q5", "the quote's structure is damaged", see_quote},
    {"Q6", "the quote covers other PCRs, or another bank, than the evidence", "let the endpoint quote the bank that was negotiated, and every PCR that its logs touch"},
    {"Q7", "the logs that were sent aren't what the TPM measured: an entry is missing, added or changed",
     "compare the endpoint's logs with its TPM; a reboot gives both anew. If it stays, treat the machine as compromised"},
    {"Q8", "the quote is signed with a weak hash", "provision an attestation key with SHA-256 or stronger"},
    {"Q9", "the attestation key isn't trusted, is too weak, or isn't an attestation key",
     "compare the key id with the machine's own, then trust it"},
    {"Q10", "the key isn't the one that was enrolled: its qualified name is another", "find out who changed the TPM's keys; enrol the device again if it was you"},
    {"Q11", "the TPM's clock or reset counters went back: an old quote, or another TPM", see_quote},
    {"Q12", "the TPM's firmware version changed", "if it was updated, approve it; else look at the machine"},
    {"Q13", "the quote came twice, or at another time than it was asked for", see_quote},
    {"Q14", "PCRs that have to be covered aren't", "let the endpoint quote PCR 0-9 and 10"},
    {"L1", "the firmware log can't be read to its end", "look at it with: gatehouse eventlog FILE"},
    {"L2", "the firmware log isn't what the TPM measured", "a reboot gives a new log; if it stays, treat the machine as compromised"},
    {"L3", "events that mustn't extend a PCR do, or come at the wrong place", "look at it with: gatehouse eventlog FILE --events"},
    {"L4", "a PCR's separator is missing, comes twice, or says that firmware failed", "look at it with: gatehouse eventlog FILE --events"},
    {"L5", "something was measured behind a separator that may not follow it", "look at it with: gatehouse eventlog FILE --events"},
    {"L6", "Secure Boot is off, or its variables aren't as they were measured", "turn Secure Boot on in the firmware's setup"},
    {"L7", "the firmware doesn't refuse boot loaders that the policy wants revoked", "update the dbx of the machine: fwupdmgr update"},
    {"L8", "a certificate vouched for a boot loader that isn't among the policy's authorities", "boot what an allowed authority has signed, or add the authority to the rules"},
    {"L9", "firmware debugging is on, or protection against DMA is off", "turn it off in the firmware's setup"},
    {"L10", "a boot loader was started that the policy doesn't list", "boot a listed one, or add its digest to the rules' boot_loaders"},
    {"L11", "shim accepts boot loaders of generations that the policy wants revoked", "update shim and its SBAT level"},
    {"L12", "the kernel's command line lacks words that the policy requires, or has forbidden ones", "correct the boot loader's configuration, and reboot"},
    {"L13", "the firmware log has no digests for the quoted bank", "let the firmware measure into this bank, or enrol the device with another one"},
    {"L14", "the firmware log has events in PCRs that aren't the firmware's", see_quote},
};

const Check* find_check(std::string_view code) {
  const auto at = std::find_if(std::begin(checks), std::end(checks), [&](const Check& c) { return c.code == code; });
  return at == std::end(checks) ? nullptr : at;
}

std::string text_of(const json::object& object, std::string_view member) {
  const std::string out = shown(object, member);
  return out == "-" ? std::string() : escaped(out, 4096);
}
std::uint64_t number_of(const json::object& object, std::string_view part, std::string_view member) {
  const json::value* const inner = object.if_contains(part);
  if (inner == nullptr || !inner->is_object()) return 0;
  const json::value* const value = inner->get_object().if_contains(member);
  boost::system::error_code code;
  const auto n = value == nullptr ? 0 : value->to_number<std::uint64_t>(code);
  return code ? 0 : n;
}
template <class Use>
void each_object(const json::object& object, std::string_view member, Use use) {
  const json::value* const list = object.if_contains(member);
  if (list == nullptr || !list->is_array()) return;
  for (const json::value& one : list->get_array())
    if (const json::object* const inner = one.if_object()) use(*inner);
}

class Explainer {
 public:
  explicit Explainer(const json::object& verdict)
      : v_(verdict), device_(text_of(verdict, "device")), recommendation_(text_of(verdict, "recommendation")) {}

  Explanation run() {
    find_items();
    say_verdict();
    of_device_and_quote();
    of_checks();
    of_measurements();
    of_items();
    notes();
    return std::move(out_);
  }

 private:
  // The entry of the policy whose item this is.
  void find_items() {
    each_object(v_, "items", [&](const json::object& item) {
      const std::string type = text_of(item, "type"), argument = text_of(item, "argument");
      if (type == "TPMRA") attestation_ = "ask = \"TPMRA" + (argument.empty() ? "" : " " + argument) + "\"";
    });
  }

  void say_verdict() {
    const json::value* const record = v_.if_contains("record");
    if (record != nullptr && record->is_object()) record_ = &record->get_object();
    const std::string state = record_ ? text_of(*record_, "state") : std::string();
    std::string& s = out_.verdict;
    if (state == "interrupted") {
      s = "the server's process ended before this session had a result: nobody was admitted by it";
      out_.notes.push_back("the endpoint attests again by itself, or let it: gatehouse-endpoint attest");
      return;
    }
    if (state == "open") {
      s = "the session is still going on";
      return;
    }
    const std::string who = device_.empty() ? "an endpoint that claims no Device ID" : "device " + device_;
    if (recommendation_ == "allow")
      s = who + " was allowed: everything that was asked of it is as it should be";
    else if (recommendation_ == "isolate")
      s = who + " was isolated";
    else if (recommendation_ == "block")
      s = who + " was blocked";
    else
      s = "there is no verdict on " + who;
  }

  Reason& add(std::string what) {
    out_.reasons.push_back({std::move(what), {}, {}, {}, {}});
    return out_.reasons.back();
  }
  // Commands that a finding names: "...: gatehouse device trust ID".
  static std::string command_in(const std::string& reason) {
    const std::size_t at = reason.rfind("with: ");
    return at == std::string::npos ? std::string() : reason.substr(at + 6);
  }
  static std::string without_command(const std::string& reason) {
    const std::size_t at = reason.rfind("with: ");
    if (at == std::string::npos) return reason;
    const std::size_t cut = reason.rfind(';', at);
    return cut == std::string::npos ? reason : reason.substr(0, cut);
  }

  // Who it is, and whether anything that it says can count.
  void of_device_and_quote() {
    each_object(v_, "findings", [&](const json::object& f) {
      const std::string component = text_of(f, "component"), reason = text_of(f, "reason");
      const bool baseline = component == "boot" && reason.find("no approved firmware baseline") != std::string::npos;
      if (component != "device" && component != "quote" && !baseline) return;
      if (out_.reasons.size() >= most) return;
      Reason& r = add(without_command(reason));
      if (const std::string command = command_in(reason); !command.empty()) r.todo.push_back(command);
      if (baseline) {
        r.meaning = "what the firmware measured was never declared good: there is nothing to compare it with";
        r.policy = attestation_;
        if (!device_.empty()) r.todo.push_back("to see what would be approved: gatehouse device baseline list " + device_);
        return;
      }
      if (reason == "the device is suspended" || reason == "the device is revoked" || reason == "the device is retired") {
        r.meaning = "an operator took it out: it was asked for nothing";
        if (!device_.empty()) {
          r.todo.push_back("to see who, when and why: gatehouse device history " + device_);
          if (reason == "the device is suspended") r.todo.push_back("to let it in again: gatehouse device resume " + device_);
        }
        return;
      }
      if (reason.find("isn't enrolled") != std::string::npos) {
        r.meaning = "what an unknown device shows is no reason to let it in";
        r.policy = "[policy] unknown_devices";
        if (!device_.empty()) r.todo.push_back("enrol it: gatehouse device add " + device_ + " --ak FILE --product PRODUCT --trust");
      } else if (reason.find("the policy denies access") != std::string::npos) {
        r.policy = "ask = \"DENY\" of that group";
        r.todo.push_back("take the device out of the group, or the entry out of the policy");
      } else if (reason.find("product") != std::string::npos) {
        r.meaning = "with another product's references a changed file would pass as an unknown one";
        if (!device_.empty()) r.todo.push_back("if the machine was installed anew: gatehouse device add " + device_ + " --product NEW");
        r.todo.push_back("if references of the product are missing: gatehouse refdb ingest");
      } else if (reason.find("No trusted AIK") != std::string::npos) {
        r.check = "Q9";
        r.meaning = meaning_of_check("Q9");
        r.todo.push_back("compare the key id with what the machine says: gatehouse-endpoint provision --json");
      }
    });
  }

  void of_checks() {
    const json::value* const all = v_.if_contains("checks");
    if (all == nullptr || !all->is_object()) return;
    for (const auto& one : all->get_object()) {
      const std::string code(one.key());
      if (one.value() != "failed") continue;
      const Check* const check = find_check(code);
      if (check == nullptr || std::any_of(out_.reasons.begin(), out_.reasons.end(), [&](const Reason& r) { return r.check == code; })) continue;
      const bool only_reported = code.front() == 'L' && code != "L1" && code != "L2" && code != "L3" && code != "L4" && code != "L5" &&
                                 code != "L13" && code != "L14" && !enforced(code);
      if (only_reported) {
        out_.notes.push_back("reported only, no rule of the policy asks for it: " + code + ", " + std::string(check->meaning));
        continue;
      }
      Reason& r = add(std::string(check->meaning));
      r.check = code;
      r.policy = attestation_;
      r.todo.push_back(std::string(check->todo));
      each_object(v_, "findings", [&](const json::object& f) {
        const std::string reason = text_of(f, "reason");
        if (reason.starts_with(code + ":") && r.meaning.empty()) r.meaning = reason;
      });
    }
  }
  // Findings of enforced rules begin with the check's code.
  bool enforced(const std::string& code) const {
    bool found = false;
    each_object(v_, "findings", [&](const json::object& f) { found |= text_of(f, "reason").starts_with(code + ":"); });
    return found;
  }

  void of_measurements() {
    std::size_t told = 0, more = 0;
    each_object(v_, "findings", [&](const json::object& f) {
      const std::string component = text_of(f, "component"), status = text_of(f, "status"), reason = text_of(f, "reason");
      const bool measured = component == "ima" || (component == "boot" && f.contains("entry"));
      if (!measured || (status != "differ" && status != "failed")) return;
      if (++told > most_measurements) {
        ++more;
        return;
      }
      const std::string path = text_of(f, "path"), package = text_of(f, "package");
      const std::string place = "entry " + text_of(f, "entry") + (text_of(f, "pcr").empty() ? "" : " in PCR " + text_of(f, "pcr"));
      Reason* r = nullptr;
      if (component == "boot") {
        r = &add("the firmware measured something else than was approved (" + place + ")");
        r->meaning = reason;
        if (!device_.empty()) {
          r->todo.push_back("to see what changed: gatehouse device baseline diff " + device_);
          r->todo.push_back("if firmware, boot loader or settings were updated: gatehouse device baseline approve " + device_);
        }
      } else if (status == "differ") {
        r = &add("a file isn't as its package has it: " + path + " (" + place + ")");
        if (!package.empty()) r->meaning = "it belongs to " + package + " " + text_of(f, "version");
        r->todo.push_back("on the machine: dpkg --verify or rpm --verify" + (package.empty() ? std::string() : " " + package) +
                          "; install the package again, then reboot or attest again");
        r->todo.push_back("if the package is newer than the references: gatehouse refdb ingest");
        const std::string product = text_of(v_, "product");
        r->todo.push_back("what is known of the file: gatehouse refdb explain" + (product.empty() ? "" : " --product \"" + product + "\"") + " " + path);
      } else {
        r = &add("a measurement can't be true: " + (path.empty() ? place : path + " (" + place + ")"));
        r->meaning = reason;
        r->todo.push_back(std::string(see_quote));
      }
      r->policy = attestation_;
    });
    if (more != 0) {
      Reason& r = add("and " + std::to_string(more) + " measurements more that differ or failed");
      r.todo.push_back("all of them: gatehouse session show " + text_of(v_, "session"));
    }
    each_object(v_, "findings", [&](const json::object& f) {
      const std::string component = text_of(f, "component"), reason = text_of(f, "reason");
      if (text_of(f, "status") != "absent" || (component != "boot" && component != "ima")) return;
      Reason& r = add(reason);
      r.meaning = "what is asked for and doesn't come is never a reason to allow";
      r.policy = attestation_;
      r.todo.push_back("look at the endpoint's TNC client: is it configured to give this, and may it read it?");
    });
  }

  // Items that aren't compliant. TPMRA's reasons are above.
  void of_items() {
    each_object(v_, "items", [&](const json::object& item) {
      const std::string type = text_of(item, "type"), argument = text_of(item, "argument"), evaluation = text_of(item, "evaluation");
      const std::string recommendation = text_of(item, "recommendation"), result = text_of(item, "result");
      if (recommendation == "allow") return;
      const bool no_result = evaluation == "error" || evaluation == "unknown";
      const std::string entry = "ask = \"" + type + (argument.empty() ? "" : " " + argument) + "\", " +
                                (no_result ? "on_noresult = \"" : "on_fail = \"") + recommendation + "\"";
      if (type == "TPMRA" && !out_.reasons.empty()) {
        for (Reason& r : out_.reasons)
          if (r.policy == attestation_) r.policy = entry;
        return;
      }
      Reason& r = add(what_of(type) + ": " + (result.empty() ? "no result" : result));
      r.policy = entry;
      if (no_result)
        r.todo.push_back("look at the endpoint's TNC client: does it have the collector for this?");
      else
        r.todo.push_back(todo_of(type));
    });
  }
  static std::string what_of(const std::string& type) {
    constexpr std::pair<std::string_view, std::string_view> names[] = {
        {"PCKGS", "installed packages"}, {"UNSRC", "software of unknown sources"}, {"FWDEN", "IP forwarding"},
        {"PWDEN", "factory default password"}, {"FREFM", "reference measurement of a file"}, {"FMEAS", "measurement of a file"},
        {"FMETA", "metadata of a file"}, {"DREFM", "reference measurement of a directory"}, {"DMEAS", "measurement of a directory"},
        {"DMETA", "metadata of a directory"}, {"TCPOP", "open TCP ports"}, {"TCPBL", "blocked TCP ports"},
        {"UDPOP", "open UDP ports"}, {"UDPBL", "blocked UDP ports"}, {"SWIDT", "software inventory"}, {"TPMRA", "TPM attestation"}};
    for (const auto& [known, name] : names)
      if (known == type) return std::string(name);
    return type;
  }
  static std::string todo_of(const std::string& type) {
    if (type == "PCKGS") return "update or remove the packages that the endpoint was told of";
    if (type == "FWDEN") return "turn forwarding off: sysctl net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0";
    if (type == "PWDEN") return "change the password that the machine was delivered with";
    if (type == "TCPOP" || type == "TCPBL" || type == "UDPOP" || type == "UDPBL")
      return "close the ports, or allow them in the policy's entry";
    if (type == "FMEAS" || type == "DMEAS") return "restore the files; if they were changed on purpose, learn them again with FREFM or DREFM";
    return "mend it, or change the policy's entry";
  }

  void notes() {
    if (record_ != nullptr) {
      if (const std::string told = text_of(*record_, "told"); !told.empty())
        out_.notes.push_back("monitor mode ([policy] enforce = false): whatever was judged, the endpoint was told " + told);
      const json::value* const shadow = record_->if_contains("shadow");
      if (shadow != nullptr && shadow->is_object() && text_of(shadow->get_object(), "recommendation") != recommendation_)
        out_.notes.push_back("the shadow policy " + text_of(shadow->get_object(), "policy") + " says: " +
                             text_of(shadow->get_object(), "recommendation"));
    }
    if (const std::uint64_t unknown = number_of(v_, "ima", "unknown"); unknown != 0)
      out_.notes.push_back(std::to_string(unknown) + " files have no reference; by themselves they don't prevent allow");
    if (out_.reasons.empty() && recommendation_ != "allow" && !recommendation_.empty() && record_ != nullptr &&
        text_of(*record_, "state") == "complete") {
      Reason& r = add("nothing that was found explains it");
      r.todo.push_back("look at the whole verdict: gatehouse session show " + text_of(v_, "session"));
    }
  }

  static constexpr std::size_t most = 16, most_measurements = 8;
  const json::object& v_;
  const std::string device_, recommendation_;
  const json::object* record_ = nullptr;
  std::string attestation_;  // the entry that asked for it
  Explanation out_;
};

}  // namespace

std::string_view meaning_of_check(std::string_view code) {
  const Check* const check = find_check(code);
  return check == nullptr ? std::string_view() : check->meaning;
}

Explanation explain(const json::object& verdict) { return Explainer(verdict).run(); }

std::string to_text(const Explanation& e) {
  std::string out = e.verdict + (e.reasons.empty() ? ".\n" : ", because:\n");
  std::size_t number = 0;
  for (const Reason& r : e.reasons) {
    out += std::to_string(++number) + ". " + r.what + '\n';
    if (!r.meaning.empty() && r.meaning != r.what) out += "   " + r.meaning + '\n';
    if (!r.check.empty()) out += "   check " + r.check + " (docs/checks.md)\n";
    if (!r.policy.empty()) out += "   policy: " + r.policy + '\n';
    for (const std::string& todo : r.todo) out += "   to do: " + todo + '\n';
  }
  for (const std::string& note : e.notes) out += "note: " + note + '\n';
  return out;
}

json::object to_json(const Explanation& e) {
  json::object out;
  out["verdict"] = e.verdict;
  json::array reasons;
  for (const Reason& r : e.reasons) {
    json::object one;
    one["what"] = r.what;
    one["meaning"] = r.meaning;
    one["check"] = r.check.empty() ? json::value(nullptr) : json::value(r.check);
    one["policy"] = r.policy.empty() ? json::value(nullptr) : json::value(r.policy);
    json::array todo;
    for (const std::string& step : r.todo) todo.emplace_back(step);
    one["todo"] = std::move(todo);
    reasons.push_back(std::move(one));
  }
  out["reasons"] = std::move(reasons);
  json::array notes;
  for (const std::string& note : e.notes) notes.emplace_back(note);
  out["notes"] = std::move(notes);
  return out;
}

}  // namespace gatehouse::cli
