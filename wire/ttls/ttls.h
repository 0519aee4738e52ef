// EAP-TTLSv0 (RFC 5281; spec part 1a §2.2, §2.4): what follows the EAP type 21, its fragments, and the AVPs inside the
// tunnel. Big-endian; parsed values borrow.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::ttls {

// Of one message; as the peer's bound: four records of the largest size.
inline constexpr std::size_t max_message = 4 * (16'384 + 2'048);
inline constexpr std::size_t header_size = 6, first_header_size = 10;  // EAP's five bytes, flags, and the length

struct Packet {
  bool start = false, more = false;
  std::optional<std::uint32_t> length;  // of the whole message
  Bytes data;
  bool acknowledgement() const { return !start && !more && data.empty(); }
};
// Version 0. Errors: protocol for another one.
Result<Packet> parse_packet(Bytes data);
inline constexpr std::array<std::byte, 1> start{std::byte{0x20}}, acknowledgement{};

// Cuts a message into packets of at most `largest` bytes with their EAP header. Length is said in every first packet.
class Fragmenter {
 public:
  explicit Fragmenter(std::size_t largest) : largest_(largest) { GH_ASSERT(largest > first_header_size); }
  // Not while pending().
  void begin(ByteVector message);
  bool pending() const { return at_ < message_.size(); }
  // The next packet's data behind the EAP type.
  ByteVector next();
  std::size_t largest() const { return largest_; }
  void set_largest(std::size_t bytes) { largest_ = std::max(bytes, first_header_size + 1); }

 private:
  std::size_t largest_;
  ByteVector message_;
  std::size_t at_ = 0;
};

// Puts the peer's fragments together, in bounds. Errors are final.
class Reassembler {
 public:
  // In its pieces, which are read one behind the other.
  struct Message {
    std::vector<ByteVector> kept;
    Bytes last;  // of the packet that ended it
    ByteVector joined() const;
  };
  // nullopt: more fragments are to come, and this one is to be acknowledged. Not for acknowledgements.
  Result<std::optional<Message>> add(const Packet& packet);
  bool pending() const { return pending_; }

 private:
  void keep(Bytes data);

  std::vector<ByteVector> pieces_;  // of a message that isn't whole; each but the last is full
  std::size_t size_ = 0, expected_ = 0;
  bool pending_ = false;
};

namespace avp {
inline constexpr std::uint32_t user_name = 1, user_password = 2, eap_message = 79;
}

struct Avp {
  std::uint32_t code = 0, vendor = 0;
  bool mandatory = false;
  Bytes data;
};
// The whole ones; what follows them waits for more bytes.
struct Avps {
  std::vector<Avp> all;
  std::size_t used = 0;  // bytes of whole AVPs, padding included
};
inline constexpr std::size_t max_avp = 65'544, max_avps = 64;
// A length below its header is malformed, one beyond max_avp and more than max_avps are a limit.
Result<Avps> parse_avps(Bytes bytes);
void append_avp(Writer& w, std::uint32_t code, Bytes data, bool mandatory = true);
ByteVector eap_avp(Bytes packet);

}  // namespace gatehouse::ttls
