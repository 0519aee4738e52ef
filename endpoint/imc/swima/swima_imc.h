// The SWIMA IMC (RFC 8412; spec part 1b §5.2-5.10): tells what software is installed and what changed, when it is
// asked, and with a subscription at the start of each further handshake.
//
//   server                                   client
//   SWIMA Request (R, S, earliest EID 7)     [Subscription Denied,] Software Identifier Events 7 ...
//   Assessment Result                        ... CRETRY when something was installed:
//                                            Software Identifier Events with S-F, from the first that wasn't told
//
// An answer is built record by record up to what the server takes; beyond, events are told as far as they fit (Last
// Consulted EID), and an inventory is refused with Response Too Large.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "endpoint/imc/imc.h"
#include "endpoint/imc/swima/software_source.h"

namespace gatehouse::endpoint {

struct SwimaConfig {
  // Whether the connection stays for them: over PT-TLS and after the verdict.
  bool subscriptions = false;
  std::size_t max_subscriptions = 8;
  std::size_t max_target_bytes = std::size_t(1) << 20;  // identifiers that all subscriptions name
};

class SwimaImc final : public Imc {
 public:
  // `source` outlives the collector, and the collector is of one connection: subscriptions end with it.
  SwimaImc(SwimaConfig config, SoftwareSource& source) : config_(config), source_(source) {}
  std::uint16_t id() const override { return 2; }
  std::uint32_t vendor() const override { return patnc::vendor_ietf; }
  std::uint32_t subtype() const override { return patnc::subtype_swima; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer&) override { return {}; }
  std::vector<std::uint16_t> subscribers() const override;
  Result<void> fulfil(Packer& out) override;
  void assessed(std::uint16_t validator, std::uint32_t result) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

  bool subscribed() const { return !subscriptions_.empty(); }
  // Whether a subscriber wasn't told of what the source's latest look found.
  bool due() const;

 private:
  struct Subscription {
    std::uint16_t validator = 0;
    swima::Request request;            // without targets
    std::vector<std::string> targets;  // sorted
    // Told next are the events from this one on; of the epoch.
    std::uint32_t epoch = 0, next_eid = 0;
    // And after that, once the server's assessment says that it has taken in what we told last.
    std::uint32_t told_epoch = 0, told_eid = 0;
    // How far the source's events were looked at, whether the server could be told of them or not.
    std::uint32_t seen_epoch = 0, seen_eid = 0;
  };
  struct Asked {
    swima::Request request;
    std::vector<std::string> targets;  // sorted; none: everything
    bool fulfilment = false;
    bool wants(std::string_view identifier) const;
    swima::Content content() const {
      return request.identifiers_only ? swima::Content::identifiers : swima::Content::records;
    }
  };
  // How far an answer went.
  struct Told {
    std::uint32_t epoch = 0, next_eid = 0;
  };

  Result<void> answer(const patnc::Attribute& attribute, Packer& out);
  // Nothing where the server had to be told an error instead.
  Result<std::optional<Told>> tell(const Asked& asked, Packer& out) const;
  Result<std::optional<Told>> tell_inventory(const Asked& asked, Packer& out) const;
  Result<std::optional<Told>> tell_events(const Asked& asked, Packer& out) const;
  Result<void> tell_subscriptions(Packer& out) const;
  Result<void> tell_sources(Packer& out) const;
  Result<void> send_error(std::uint32_t code, std::uint32_t id, std::string_view description, Packer& out,
                          std::size_t maximum = 0) const;
  Result<void> send_fulfilment_error(std::uint32_t id, std::string_view description, Packer& out) const;
  void note(Subscription& one, const std::optional<Told>& told) const;
  std::optional<Subscription> subscription(const Asked& asked, std::uint16_t validator) const;

  SwimaConfig config_;
  SoftwareSource& source_;
  std::vector<Subscription> subscriptions_;
};

}  // namespace gatehouse::endpoint
