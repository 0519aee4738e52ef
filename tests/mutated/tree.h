// A client's PT-TLS message taken apart down to PA-TNC attributes, to be changed at any layer and written again.
// Lengths follow from what is there, so that a change deep inside still reaches the parser that it is meant for; a
// length that lies is said so. What isn't a well-formed batch stays bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::test {

// Small and fast, and the same numbers everywhere: splitmix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : std::size_t((*this)() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

struct AttributeTree {
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  ByteVector value;
  std::optional<std::uint32_t> length{};  // what its header says instead of the truth
};

struct MessageTree {
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  std::optional<std::uint32_t> length{};
  // PB-PA where `pa`: its header, 8 bytes of the PA-TNC message's header, its attributes, and bytes behind them.
  bool pa = false;
  std::uint8_t pa_flags = 0;
  std::uint32_t pa_vendor = 0, subtype = 0;
  std::uint16_t collector = 0, validator = 0;
  ByteVector head;
  std::vector<AttributeTree> attributes;
  ByteVector value;  // of any other; of PB-PA what follows its attributes
};

struct BatchTree {
  std::uint8_t version = 2, flags = 0;
  std::uint16_t type = 1;  // the upper 12 bits are reserved
  std::optional<std::uint32_t> length{};
  std::vector<MessageTree> messages;
};

struct TransportTree {
  std::uint8_t reserved = 0;
  std::uint32_t vendor = 0, type = 0, identifier = 0;
  std::optional<std::uint32_t> length{};
  std::optional<BatchTree> batch;
  ByteVector value;  // of any other
};

TransportTree take_apart(Bytes message);
ByteVector written(const TransportTree& message);
void append(Writer& w, const MessageTree& message);
void append(Writer& w, const AttributeTree& attribute);

}  // namespace gatehouse::test
