// PT-EAP packets (RFC 7171; spec part 1a §2.6): what follows the EAP type 54. A batch is one packet; the tunnel fragments.
#pragma once

#include <cstdint>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pteap {

inline constexpr std::size_t header_size = 6;                      // EAP's five bytes and the flags
inline constexpr std::size_t max_batch = 65'535 - header_size;     // that a packet can carry
inline constexpr std::size_t default_max_batch = 65'522;           // with it the AVP fits into four TLS records

struct Message {
  bool start = false;
  Bytes batch;  // empty: an acknowledgement, or the start
  friend bool operator==(const Message& a, const Message& b) { return a.start == b.start && equal(a.batch, b.batch); }
};

// Version 1, or any in a packet without data (a peer's acknowledgement leaves it 0); Start without data only. Errors:
// protocol for the version and for Start with data.
Result<Message> parse_message(Bytes data);
ByteVector start();
ByteVector message(Bytes batch);

// EAP-TNC, its older form (EAP type 38; spec part 1a §2.6): flags of other places, and fragments, of which a tunnel has no need:
// more flags than Start are refused, but for a length that says what is there.
Result<Message> parse_tnc_message(Bytes data);
ByteVector tnc_start();
// As message(): version 1 without flags.

}  // namespace gatehouse::pteap
