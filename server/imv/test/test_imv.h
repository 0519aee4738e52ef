// The Test IMV recommends what the endpoint's Test collector commands it to (ITA-HSR Test; spec part 1b §2.1). It
// serves the acceptance scenarios, which need a server that comes to a certain decision, and is there only where
// Settings::test_imv says so: an endpoint that decides for itself is no assessment.
//
//   collector                               validator
//     Command "allow" [, Dummy] ──────────▶
//     ◀───────────────────────── Command "repeat"      Settings::test_rounds times
//     Command "allow" [, Dummy] ──────────▶
//     ◀───────────────────────── Assessment Result     to each collector that spoke
//
// Commands: "allow" (compliant), "isolate" (minor), "block" (major), "none" (don't know). Of several the strictest
// counts. Without any it has no opinion.
#pragma once

#include <vector>

#include "server/imv/imv.h"

namespace gatehouse::server {

class TestImv final : public Imv {
 public:
  TestImv(std::uint16_t id, Conversation& conversation)
      : Imv(id, conversation, patnc::vendor_ita, subtype, admit_supported) {}

  static constexpr std::uint32_t subtype = 1;
  std::string_view label() const override { return "Test"; }
  void receive(const Message& message) override;
  void malformed(std::string_view why) override;

 private:
  policy::Validator validator() const override { return policy::Validator::none; }
  void restart() override { s_ = {}; }
  void work() override;
  bool idle() const override { return !s_.repeating; }
  void give_up() override { s_.repeating = false; }
  void concluding() override;
  void obey(std::string_view command);

  struct Assessment {
    unsigned rounds = 0;     // that were asked to be repeated
    bool commanded = false;  // a command came
    bool heard = false;      // since the last batch
    bool repeating = false;  // asked, and no answer yet
    std::vector<std::uint16_t> collectors;  // that spoke: at most as many as the channel takes
  } s_;
};

}  // namespace gatehouse::server
