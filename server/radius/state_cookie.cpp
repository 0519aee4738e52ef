#include "server/radius/state_cookie.h"

#include "base/hash.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::server {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::size_t body_size = 17, tag_size = 16;
static_assert(body_size + tag_size == StateCookies::size);

}  // namespace

StateCookies::StateCookies() : key_(Bytes(random_bytes(32))) { fill_random(std::as_writable_bytes(std::span(&node_, 1))); }

ByteVector StateCookies::tag(Bytes body, const IpAddress& client, Bytes secret) const {
  Writer w;
  w.put_bytes(body);
  w.put_bytes(std::as_bytes(std::span(client)));
  w.put_bytes(secret);
  ByteVector message = std::move(w).take();
  const Digest out = hmac(HashAlgorithm::sha256, key_.reveal(), message);
  wipe(message);
  return to_vector(out.view().first(tag_size));
}

ByteVector StateCookies::seal(const Place& place, const IpAddress& client, Bytes secret) const {
  Writer w;
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
