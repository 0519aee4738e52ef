// HMAC-SHA-256 (RFC 2104, RFC 4231) with a key that many short messages have: its two blocks are hashed once, and nothing is
// allocated for a message. hash.h has the general one.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/bytes.h"

namespace gatehouse {

// As secret as the key; wiped at its end. Any thread.
class HmacSha256 {
 public:
  explicit HmacSha256(Bytes key);
  HmacSha256(const HmacSha256&) = delete;
  HmacSha256& operator=(const HmacSha256&) = delete;
  ~HmacSha256();
  // Of the pieces behind one another.
  std::array<std::byte, 32> operator()(std::initializer_list<Bytes> pieces) const;

 private:
  using State = std::array<std::uint32_t, 8>;  // SHA-256's, after one block
  State inner_{}, outer_{};
};

}  // namespace gatehouse
