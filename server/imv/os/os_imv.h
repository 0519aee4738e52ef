// The OS IMV: learns product and Device ID, asks for what is missing, and tells the endpoint what to mend (spec part 1b
// §4). Once it has what there is to have, it identifies the endpoint for all IMVs.
#pragma once

#include "server/imv/imv.h"

namespace gatehouse::server {

class OsImv final : public Imv {
 public:
  OsImv(std::uint16_t id, Conversation& conversation) : Imv(id), c_(conversation) {}

  std::string_view label() const override { return "OS"; }
  bool subscribed(std::uint32_t vendor, std::uint32_t subtype) const override {
    return vendor == patnc::vendor_ietf && subtype == patnc::subtype_operating_system;
  }
  void receive(const pbtnc::PaMessage& pa, const patnc::Parsed& message) override;
  void malformed(std::string_view) override { failed_ = true; }
  void batch_end() override;
  void solicit() override;
  void abandon(std::string_view) override;
  std::optional<ImvResult> result() const override { return result_; }
  void contribute(pipeline::Verdict& verdict, SessionResult& record) override;

  // What has come of the seven attributes that tell what the endpoint is.
  struct Seen {
    std::optional<std::uint32_t> forwarding, default_password;
    bool numeric_version = false, operational_status = false;
  };

 private:
  void identify();
  void assess();
  Conversation& c_;
  Seen seen_;
  bool asked_ = false, failed_ = false, store_failed_ = false;
  std::string_view trouble_;  // why its recommendation isn't allow
  std::optional<ImvResult> result_;
};

}  // namespace gatehouse::server
