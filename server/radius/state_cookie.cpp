#include "server/radius/state_cookie.h"

#include <algorithm>

#include "base/hash.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::server {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::size_t body_size = 17;

}  // namespace

StateCookies::StateCookies() : hmac_(Secret(Bytes(random_bytes(32))).reveal()) { fill_random(std::as_writable_bytes(std::span(&node_, 1))); }

StateCookies::Tag StateCookies::tag(Bytes body, const IpAddress& client, Bytes secret) const {
  const auto whole = hmac_({body, std::as_bytes(std::span(client)), secret});
  Tag out;
  std::copy_n(whole.begin(), tag_size, out.begin());
  return out;
}

ByteVector StateCookies::seal(const Place& place, const IpAddress& client, Bytes secret) const {
  static_assert(body_size + tag_size == size);
  Writer w;
  w.reserve_bytes(size);
  w.put(version);
  w.put(node_);
  w.put(place.conversation);
  w.put(place.round);
  w.put_bytes(tag(w.view(), client, secret));
  return std::move(w).take();
}

std::optional<StateCookies::Place> StateCookies::open(Bytes state, const IpAddress& client, Bytes secret) const {
  if (state.size() != size) return std::nullopt;
  const Bytes body = state.first(body_size);
  if (!equal_constant_time(tag(body, client, secret), state.subspan(body_size))) return std::nullopt;
  Reader r(body, "State");
  if (*r.get<std::uint8_t>() != version || *r.get<std::uint32_t>() != node_) return std::nullopt;
  Place out;
  out.conversation = *r.get<std::uint64_t>();
  out.round = *r.get<std::uint32_t>();
  return out;
}

}  // namespace gatehouse::server
