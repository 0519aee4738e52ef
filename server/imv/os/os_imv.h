// The OS IMV: learns product and Device ID, asks for what is missing, and tells the endpoint what to mend (spec part 1b
// §4). Once it has what there is to have, it identifies the endpoint for all IMVs.
#pragma once

#include "server/imv/imv.h"

namespace gatehouse::server {

class OsImv final : public Imv {
 public:
  OsImv(std::uint16_t id, Conversation& conversation)
      : Imv(id, conversation, patnc::vendor_ietf, patnc::subtype_operating_system, admit_supported) {}

  std::string_view label() const override { return "OS"; }
  void receive(const Message& message) override;
  void malformed(std::string_view) override { s_.failed = true; }
  void contribute(pipeline::Verdict& verdict, SessionResult& record) override;

  // What has come of the seven attributes that tell what the endpoint is.
  struct Seen {
    std::optional<std::uint32_t> forwarding, default_password;
    bool numeric_version = false, operational_status = false;
  };

 private:
  policy::Validator validator() const override { return policy::Validator::os; }
  void restart() override { s_ = {}; }
  void work() override;
  bool idle() const override { return s_.settled; }
  void give_up() override;
  void concluding() override;
  void identify();
  void settle();
  struct Assessment {
    Seen seen;
    bool asked = false, failed = false, store_failed = false;
    bool settled = false;      // what there is to know of the seven attributes is known
    std::string_view trouble;  // why its recommendation isn't allow
  } s_;
};

}  // namespace gatehouse::server
