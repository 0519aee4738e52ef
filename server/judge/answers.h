// What endpoints answer about settings and open ports, against what is asked: pure functions, for a session while it talks
// and for one that is judged again. Packages are in packages.h.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/judge/packages.h"
#include "server/policy/work_items.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {

// A work item's result: a sentence for operators, as strongSwan words it (spec part 1b §4.4, part 2 §9.2).
struct Answer {
  pipeline::Evaluation evaluation = pipeline::Evaluation::unknown;
  std::string text;
};

// As the endpoint says; absent: it didn't.
struct OsSettings {
  std::optional<std::uint32_t> forwarding, default_password;  // RFC 5792 4.2.5, 4.2.6
  std::optional<bool> unknown_sources;
  bool bad() const { return forwarding == 1U || default_password == 1U || unknown_sources == true; }
};
// FWDEN, PWDEN and UNSRC; nullopt for other types, and where the endpoint didn't say.
std::optional<Answer> judge_setting(policy::Type type, const OsSettings& settings);

// PCKGS; nullopt: the list wasn't judged for this item.
std::optional<Answer> judge_packages(const PackageCheck& check, const policy::WorkItem& item);

// What a Port Filter says is open of one protocol.
struct OpenPorts {
  std::bitset<65536> open;
  bool listed = true;          // one by one; false: as all that isn't blocked
  bool contradictory = false;  // blocked entries besides others: what of the rest is open isn't said
  OpenPorts() = default;
  OpenPorts(std::span<const patnc::PortFilterEntry> entries, std::uint8_t protocol);
  // What another firewall has open is open.
  void add(const OpenPorts& other);
  friend bool operator==(const OpenPorts&, const OpenPorts&) = default;
};
std::uint8_t protocol_of(policy::Type type);  // of TCPOP to UDPBL

struct PortAnswer : Answer {
  std::vector<std::string> violations;  // "tcp 23", "tcp 1-21"
  std::size_t more = 0;                 // ports besides these
};
// TCPOP to UDPBL.
PortAnswer judge_ports(const policy::WorkItem& item, const OpenPorts& open);
// Something is open against the item, or what is open isn't said.
bool violates(const policy::WorkItem& item, const OpenPorts& open);

}  // namespace gatehouse::server
