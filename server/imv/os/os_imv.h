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
  void begin_assessment() override { s_ = {}; }
  void receive(const Message& message) override;
  void malformed(std::string_view) override { s_.failed = true; }
  void batch_end() override;
  void solicit() override;
  void abandon(std::string_view) override;
  std::optional<ImvResult> result() const override { return s_.result; }
  void contribute(pipeline::Verdict& verdict, SessionResult& record) override;

  // What has come of the seven attributes that tell what the endpoint is.
  struct Seen {
    std::optional<std::uint32_t> forwarding, default_password;
    bool numeric_version = false, operational_status = false;
  };

 private:
  void identify();
  void assess();
  struct Assessment {
    Seen seen;
    bool asked = false, failed = false, store_failed = false;
    std::string_view trouble;  // why its recommendation isn't allow
    std::optional<ImvResult> result;
  } s_;
};

}  // namespace gatehouse::server
