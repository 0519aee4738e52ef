#include "server/radius/state_cookie.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/reader.h"

namespace gatehouse::server {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::size_t conversation_at = 5, body_size = 17;

}  // namespace

StateCookies::StateCookies() : hmac_(Secret(Bytes(random_bytes(32))).reveal()) { fill_random(std::as_writable_bytes(std::span(&node_, 1))); }

StateCookies::Tag StateCookies::tag(Bytes body, const IpAddress& client, Bytes secret) const {
  const auto whole = hmac_({body, std::as_bytes(std::span(client)), secret});
  Tag out;
  std::copy_n(whole.begin(), tag_size, out.begin());
  return out;
}

StateCookies::Cookie StateCookies::seal(const Place& place, const IpAddress& client, Bytes secret) const {
  static_assert(body_size + tag_size == size);
  Cookie out;
  std::byte* at = out.data();
  const auto put = [&at](auto value) {
    if constexpr (sizeof value > 1) value = std::byteswap(value);
    std::memcpy(std::exchange(at, at + sizeof value), &value, sizeof value);
  };
  put(version);
  put(node_);
  put(place.conversation);
  put(place.round);
  const Tag made = tag(Bytes(out).first(body_size), client, secret);
  std::copy(made.begin(), made.end(), at);
  return out;
}

std::optional<std::uint64_t> StateCookies::conversation(Bytes state) {
  if (state.size() != size) return std::nullopt;
  return *Reader(state.subspan(conversation_at), "State").get<std::uint64_t>();
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
