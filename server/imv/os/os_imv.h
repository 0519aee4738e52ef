// The OS IMV: learns product and Device ID, asks for what is missing, judges packages and settings, and tells the
// endpoint what to mend (spec part 1b §4). Once it has what there is to have, it identifies the endpoint for all IMVs.
//
//   first batch      the seven attributes that tell what the endpoint is, or some of them
//   its end          a contract and an Attribute Request for those that are missing; one more batch, then it has to do
//                    identified: Attribute Request (Installed Packages), Get Settings, for the items that need them
//   later batches    items are finished as their data comes; those without are "no answer" when the endpoint falls
//   silent no item is left  Assessment Result and Remediation Instructions, to any collector
#pragma once

#include <map>

#include "base/hash.h"
#include "server/imv/imv.h"
#include "server/judge/answers.h"
#include "server/judge/packages.h"

namespace gatehouse::server {

class OsImv final : public Imv {
 public:
  OsImv(std::uint16_t id, Conversation& conversation)
      : Imv(id, conversation, patnc::vendor_ietf, patnc::subtype_operating_system, admit) {}

  std::string_view label() const override { return "OS"; }
  void receive(const Message& message) override;
  Result<void> receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) override;
  void malformed(std::string_view why) override;
  Contribution contribution() const override;
  void contribute(SessionResult& record) override;
  std::vector<std::string> reasons() const override;

  // What has come besides who the endpoint is.
  struct Seen : OsSettings {
    bool numeric_version = false, operational_status = false;
  };

 private:
  static patnc::Reassembler::Admission admit(std::uint32_t vendor, std::uint32_t type);
  policy::Validator validator() const override { return policy::Validator::os; }
  void restart() override { s_ = {}; }
  void work() override;
  bool idle() const override { return s_.settled; }
  void concluding() override;

  void take(const patnc::Attribute& attribute);
  // Whether it says what an attribute of its type has said before; another value is a contradiction.
  bool repeats(const patnc::Attribute& attribute);
  void take_settings(Reader& r);
  void take_error(Reader& r);
  PackageCheck new_check();
  void take_packages(PackageCheck check, const Digest& digest);
  void reconsider();
  void learn();
  void identify();
  // Why it can't judge; empty: it can.
  std::string trouble() const;
  void fail_items();
  void ask_for_items();
  void judge_items();
  std::vector<Remedy> remedies() const;

  // A package list on its way in segments. One at a time for each collector.
  struct Transfer {
    patnc::PackagesCursor cursor{patnc::attribute_header_size};
    PackageCheck check;
    Hasher hasher{HashAlgorithm::sha256};
    std::size_t at = 0;  // of the next piece
  };
  struct Assessment {
    Seen seen;
    std::map<std::pair<std::uint32_t, std::uint32_t>, ByteVector> said;  // values by vendor and type
    std::map<std::uint16_t, Transfer> transfers;                         // by collector
    std::shared_ptr<const refdb::View> references;
    std::optional<PackageCheck> packages;  // complete
    Digest packages_digest;                // of that list's bytes
    bool asked = false;                    // for what is missing of the seven
    bool asked_packages = false, asked_settings = false;
    bool settled = false;  // what there is to know of the seven attributes is known
    bool store_failed = false;
    std::string failed;         // something of the endpoint's that can't be used
    std::string contradiction;  // a name of what was said twice, differently
    std::string trouble;        // why its recommendation isn't allow, once it has stopped for it
  } s_;
};

// RFC 3339, "2026-11-25T08:26:24Z", in milliseconds since 1970; nothing for a date that doesn't exist, before 1970 or
// after `now`.
std::optional<std::int64_t> boot_time(std::string_view text, std::int64_t now);

}  // namespace gatehouse::server
