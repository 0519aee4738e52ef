// Takes back what gateways were told (RFC 5176): when a device's trust ends, those that let it in are asked to cut it off, or to
// move it to isolation; when it is to be assessed again, to have it come again soon.
//
//   told "isolate" by PT-TLS ─┐
//   key revoked, device gone ─┼─▶ distrust() ─▶ Admitted ─▶ Disconnect-Request ─▶ ACK: cut; NAK or silence: the log says so
//   operator                  ┘                          └▶ CoA-Request (dot1x, isolate) ─▶ NAK or silence: Disconnect-Request
//
// strongSwan's gateways know Disconnect, and of CoA a new Session-Timeout alone; so endpoints of the profile ipsec are cut off
// and come again, and find their place then.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "server/radius/admitted.h"
#include "server/tls/radius_caller.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {

class RadiusDynamic : public std::enable_shared_from_this<RadiusDynamic> {
 public:
  RadiusDynamic(std::shared_ptr<Server::Impl> server, std::shared_ptr<RadiusCaller> caller)
      : server_(std::move(server)), caller_(std::move(caller)) {}

  using Clock = std::chrono::steady_clock;
  // A verdict that was told, and whose it was. Where it isn't sure that it was of this device, it counts for those alone that
  // were let in as the same identity: who claims another's device cuts nobody off.
  struct Verdict {
    std::string session, device, identity, identity_type;
    bool sure = false;
    pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  };

  // Any thread.
  void distrust(std::shared_ptr<const RadiusSettings> settings, const Verdict& verdict);
  // All of this device; how many gateways are asked.
  std::size_t disconnect(std::shared_ptr<const RadiusSettings> settings, std::string_view device);
  // Has them come again soon; how many gateways are asked.
  std::size_t reassess(std::shared_ptr<const RadiusSettings> settings, std::string_view device);

 private:
  enum class Wish : std::uint8_t { cut, isolate, reassess };
  bool ask(std::shared_ptr<const RadiusSettings> settings, const Admitted::Entry& entry, Wish wish, Clock::time_point detected);
  void on_answer(std::shared_ptr<const RadiusSettings> settings, const Admitted::Entry& entry, Wish wish, Clock::time_point detected, Bytes answer);

  const std::shared_ptr<Server::Impl> server_;
  const std::shared_ptr<RadiusCaller> caller_;
};

}  // namespace gatehouse::server
