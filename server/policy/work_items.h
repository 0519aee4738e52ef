// Which measurements a device is asked for at the beginning of a session (spec part 1b §7.4, part 2 §9.4): a pure
// function of the policy, of what is known of the device, and of its earlier results.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/policy/policy.h"

namespace gatehouse::server::policy {

enum class Standing : std::uint8_t {
  unknown,        // claims no device, or one that nobody enrolled, or an identity contradicts the claim
  claimed,        // claims an enrolled device; only its AK can prove it
  authenticated,  // an authenticated identity that the device is bound to, or a quote by its trusted AK on this
                  // connection
};

struct DeviceFacts {
  Standing standing = Standing::unknown;
  std::string device;         // Device ID
  std::string product;        // of the device's record where it has one, else as claimed
  std::string identity;       // authenticated by the transport, empty: none
  std::string identity_type;  // "certificate", "password", ""
  CertificateNames certificate{};  // of the identity, where it is one
  std::string ak;             // pin of the AK that made an accepted quote on this connection; empty: none yet
  std::int64_t now = 0;       // milliseconds since 1970
  std::optional<std::int64_t> last_boot;  // as claimed by the endpoint, milliseconds since 1970
};

// The newest result of this device for an item's key.
struct PastResult {
  std::int64_t when = 0;  // of its session, milliseconds since 1970
  Recommendation recommendation = Recommendation::none;
  std::string identity, identity_type;  // that session's
  std::string ak;                       // pin of the AK whose quote was accepted in it; empty: none
  std::optional<std::int64_t> failing_since{};  // it isn't compliant, and wasn't since then
};
// By WorkItem::key().
using History = std::function<std::optional<PastResult>(const std::string& key)>;

// Borrows from the policy, which has to outlive it.
struct WorkItem {
  std::uint32_t id = 0;  // from 1, in the order in which they are to be worked on
  Type type = Type::deny;
  std::string argument;                    // canonical
  std::string letters;                     // TPMRA, SWIDT
  const PortSet* ports = nullptr;          // TCPOP to UDPBL
  std::string_view path;                   // FREFM to DMETA
  const PackageRules* packages = nullptr;  // PCKGS
  std::vector<pipeline::EvidenceRulesPtr> rules;  // TPMRA: of all that ask for it, by name
  std::vector<SoftwareRulesPtr> software{};       // SWIDT: the same
  Recommendation on_fail = Recommendation::isolate;
  Recommendation on_noresult = Recommendation::isolate;
  std::chrono::seconds max_age{0}, grace{0};
  std::optional<std::int64_t> grace_until{};  // milliseconds since 1970: not compliant allows till then
  std::string_view group;  // whose enforcement decided on_fail and on_noresult

  bool has(char letter) const { return letters.find(letter) != letters.npos; }
  // "TPMRA B I": under which its result is kept. Another argument is another key, and so are other rules:
  // "TPMRA B I rules 1f3a…".
  std::string key() const;
};

struct Plan {
  bool denied = false;         // no access, without any measurement: items is empty
  std::string_view denied_by;  // group
  std::vector<WorkItem> items;
  std::vector<WorkItem> skipped;  // a result that is new enough allows it
};

// - One item per type and argument however many groups ask for it: smallest max_age, recommendations of the group with
// the
//   fewest steps from the device (of several, the stricter). TPMRA and SWIDT are one conversation each, so one item
//   each: TPMRA with the letters of all, SWIDT with R only where all have it, S where any has it, C where none has S.
// - An authenticated device gets its groups' items. One that only claims to be enrolled gets them too, and TPMRA B I
// when
//   they don't ask for TPMRA with a quote: the AK has to prove the claim. One that is unknown gets what every group
//   asks for that it could belong to, with the stricter recommendation each.
// - Only an authenticated device has an item skipped, and only by a result of the same identity or AK that is newer
// than
//   now - max_age (an age of exactly max_age isn't), not in the future, and allow. TPMRA besides only when the endpoint
//   says that it hasn't booted since.
// - A group counts when its times say so. Where no group of a device counts it is in none.
// - An item with a grace period allows a known device for so long from the first result on that wasn't compliant; of
// several
//   groups' periods that of the one with the fewest steps counts (of these, the shortest).
// - Where a denying group holds the device, Plan::denied. Claims are believed for that.
Plan work_items(const Policy& policy, const DeviceFacts& device, const History& history);

// Names of the groups that hold the device, the nearest first: those that name it, then those above them, those of everybody
// last; of equally near ones in the order of their names. Only of who the device is, not of how sure that is.
std::vector<std::string> groups_of(const Policy& policy, const DeviceFacts& device);

}  // namespace gatehouse::server::policy
