// Who may have a connection over TCP or TLS. Those that have proved who they are have places that nobody else can take; those
// that haven't yet have few, in which the oldest makes room for a new one; and from one address there are only so many, of which
// those that haven't make room first.
//
//   const auto taken = room.take(address, limits);        // nullopt: as many from there have proved it as there may be
//   if (taken && taken->gives_way) close(*taken->gives_way);
//   if (!room.prove(taken->id, limits)) close();           // its first authentic packet, or its certificate
//   room.leave(taken->id);                                 // it has ended
//
// Not to be used by two threads at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "server/config/address_prefix.h"

namespace gatehouse::server {

class StreamRoom {
 public:
  using Id = std::uint64_t;
  struct Limits {
    std::size_t proven = 1'024, per_address = 128, unproven = 256;
  };
  struct Taken {
    Id id = 0;
    std::optional<Id> gives_way;  // an older one that hasn't proved anything, and has lost its place
  };
  // An IPv6 network of 64 bits counts as one address.
  std::optional<Taken> take(const IpAddress& address, const Limits& limits);
  // False: it has no place (any more), or there are as many as there may be.
  bool prove(Id id, const Limits& limits);
  void leave(Id id);
  // All that have a place.
  std::size_t size() const { return places_.size(); }

 private:
  struct Place {
    IpAddress from{};
    bool proven = false;
  };
  Id last_ = 0;
  std::map<Id, Place> places_;
  std::set<Id> unproven_;  // the oldest first
  std::map<IpAddress, std::size_t> per_address_;  // none is 0
};

}  // namespace gatehouse::server
