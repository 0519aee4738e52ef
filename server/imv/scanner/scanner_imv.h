// The Scanner IMV: which ports an endpoint has open, against lists of allowed and of forbidden ones (TCPOP, TCPBL,
// UDPOP, UDPBL; spec part 2 §9.2). It asks firewalls for their Port Filter, unless they tell it unasked.
#pragma once

#include <map>

#include "server/imv/imv.h"
#include "server/judge/answers.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {

// The open ports of one protocol, as a Port Filter means them (RFC 5792 4.2.6): entries that aren't blocked are all
// that is open, and where all are blocked everything else is.
class ScannerImv final : public Imv {
 public:
  ScannerImv(std::uint16_t id, Conversation& conversation)
      : Imv(id, conversation, patnc::vendor_ietf, patnc::subtype_firewall, admit_supported) {}

  std::string_view label() const override { return "Scanner"; }
  void receive(const Message& message) override;
  void malformed(std::string_view why) override;
  std::vector<std::string> reasons() const override;

 private:
  policy::Validator validator() const override { return policy::Validator::scanner; }
  void restart() override { s_ = {}; }
  void work() override;
  void concluding() override;
  void take_error(Reader& r);
  OpenPorts open_ports(std::uint8_t protocol) const;
  bool violated() const;  // by what is known now
  void judge(const policy::WorkItem& item);

  struct Assessment {
    struct Filter {
      OpenPorts tcp, udp;
      friend bool operator==(const Filter&, const Filter&) = default;
    };
    std::map<std::uint16_t, Filter> filters;  // by collector
    bool asked = false, violated = false;
    std::string failed;
    std::vector<std::string> violations;  // "tcp 23", for people
    std::size_t more_violations = 0;
  } s_;
};

}  // namespace gatehouse::server
