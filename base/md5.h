// MD5 and HMAC-MD5, which RADIUS (RFC 2865, RFC 3579), EAP-MD5 (RFC 3748) and nothing else here is made of. Whoever can
// choose both messages finds two with one digest: nothing is to be trusted because its MD5 is known.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/bytes.h"

namespace gatehouse {

using Md5 = std::array<std::byte, 16>;

// Of the pieces behind one another.
Md5 md5(std::initializer_list<Bytes> pieces);
// RFC 2104.
Md5 hmac_md5(Bytes key, std::initializer_list<Bytes> pieces);

// The same with a key that many messages have: its two blocks are hashed once. As secret as the key; wiped at its end. Any thread.
class HmacMd5 {
 public:
  explicit HmacMd5(Bytes key);
  HmacMd5(const HmacMd5&) = delete;
  HmacMd5& operator=(const HmacMd5&) = delete;
  ~HmacMd5();
  Md5 operator()(std::initializer_list<Bytes> pieces) const;

 private:
  friend struct Md5Lanes;
  using State = std::array<std::uint32_t, 4>;  // MD5's, after one block
  State inner_{}, outer_{};
};

// Of several messages at once. MD5 is bound by the latency of its steps: where a processor has wide vectors, sixteen messages
// side by side take about as long as one. Any thread.
struct Md5Job {
  static constexpr std::size_t none = std::size_t(-1);
  const HmacMd5* key = nullptr;  // null: of the message alone
  Bytes message{};
  std::size_t zeros_at = none;   // sixteen bytes of it that count as zeros: where a digest stands that isn't covered by itself
  Md5 digest{};
};
void md5_each(std::span<Md5Job> jobs);

// For tests and measurements: those that this processor has; the first takes one message at a time.
struct Md5Kernel {
  std::string_view name;
  std::size_t lanes;
  void (*run)(std::span<Md5Job> jobs);  // any number
};
std::span<const Md5Kernel> md5_kernels();

}  // namespace gatehouse
