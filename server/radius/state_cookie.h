// The State attribute (RFC 2865 section 5.24): which conversation of which node a request goes on with, and how far that was.
// Nobody but this process can make one; it holds for the client address and secret that it was given to.
//
//   version (1) | node (4) | conversation (8) | round (4) | HMAC-SHA-256 over these, the address and the secret (first 16)
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/hmac_sha256.h"
#include "base/secret.h"
#include "server/config/address_prefix.h"

namespace gatehouse::server {

class StateCookies {
 public:
  static constexpr std::size_t size = 33;
  struct Place {
    std::uint64_t conversation = 0;
    std::uint32_t round = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };

  // With a key and a node of its own, from the generator: what another run of the program made, this one doesn't know.
  StateCookies();
  using Cookie = std::array<std::byte, size>;
  Cookie seal(const Place& place, const IpAddress& client, Bytes secret) const;
  // nullopt: it isn't ours, or not for this client.
  std::optional<Place> open(Bytes state, const IpAddress& client, Bytes secret) const;
  // Whose it would be, if it is one: whoever made it.
  static std::optional<std::uint64_t> conversation(Bytes state);

 private:
  static constexpr std::size_t tag_size = 16;
  using Tag = std::array<std::byte, tag_size>;
  Tag tag(Bytes body, const IpAddress& client, Bytes secret) const;
  const HmacSha256 hmac_;
  std::uint32_t node_ = 0;
};

}  // namespace gatehouse::server
