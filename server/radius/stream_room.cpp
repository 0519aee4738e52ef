#include "server/radius/stream_room.h"

#include <algorithm>

namespace gatehouse::server {
namespace {

// IPv4 addresses are written into IPv6, and count each.
IpAddress whose(const IpAddress& address) {
  const bool v4 = std::all_of(address.begin(), address.begin() + 10, [](auto b) { return b == 0; }) && address[10] == 0xFF && address[11] == 0xFF;
  return v4 ? address : masked(address, 64);
}

}  // namespace

std::optional<StreamRoom::Taken> StreamRoom::take(const IpAddress& address, const Limits& limits) {
  const IpAddress from = whose(address);
  Taken out{0, std::nullopt};
  if (const auto of = per_address_.find(from); of != per_address_.end() && of->second >= limits.per_address) {
    const auto own = std::find_if(unproven_.begin(), unproven_.end(), [&](Id id) { return places_.at(id).from == from; });
    if (own == unproven_.end()) return std::nullopt;
    out.gives_way = *own;
  } else if (unproven_.size() >= limits.unproven) {
    out.gives_way = *unproven_.begin();
  }
  if (out.gives_way) leave(*out.gives_way);
  out.id = ++last_;
  places_.emplace(out.id, Place{from, false});
  unproven_.insert(out.id);
  ++per_address_[from];
  return out;
}

bool StreamRoom::prove(Id id, const Limits& limits) {
  const auto at = places_.find(id);
  if (at == places_.end()) return false;
  if (at->second.proven) return true;
  if (places_.size() - unproven_.size() >= limits.proven) return false;
  at->second.proven = true;
  unproven_.erase(id);
  return true;
}

void StreamRoom::leave(Id id) {
  const auto at = places_.find(id);
  if (at == places_.end()) return;
  const auto of = per_address_.find(at->second.from);
  if (--of->second == 0) per_address_.erase(of);
  unproven_.erase(id);
  places_.erase(at);
}

}  // namespace gatehouse::server
