// TCG IF-M Segmentation (spec part 1b §3): contracts, segment envelopes, and putting attributes together again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "wire/patnc/patnc.h"

namespace gatehouse::patnc {

inline constexpr std::uint32_t unlimited = 0xFFFFFFFF;
inline constexpr std::size_t envelope_header_size = 4;

// Largest PA-TNC message in a batch of `max_batch` bytes, and the largest segment in it (§3.4).
constexpr std::size_t max_message(std::size_t max_batch) { return max_batch - 8 - 12 - 12; }
constexpr std::size_t max_segment(std::size_t message) { return message - message_header_size - attribute_header_size - envelope_header_size; }

struct Contract {
  std::uint32_t max_message_size = unlimited;
  std::uint32_t max_segment_size = unlimited;
};
Result<Contract> parse_contract(Reader& r);
void append_contract(Writer& w, const Contract& v);

inline constexpr std::uint8_t more_segments = 0x80, first_segment = 0x40, cancel_segments = 0x80;
struct Envelope {
  std::uint8_t flags = 0;
  std::uint32_t id = 0;  // 24 bits
  Bytes segment;
};
Result<Envelope> parse_envelope(Reader& r);
void append_envelope(Writer& w, const Envelope& v);
struct NextSegment {
  std::uint8_t flags = 0;
  std::uint32_t id = 0;
};
Result<NextSegment> parse_next_segment(Reader& r);
void append_next_segment(Writer& w, const NextSegment& v);

// "FF FF FF FF || id": what errors about a segmented attribute quote in place of the message header (§3.6).
ByteVector pseudo_header(std::uint32_t id);

// Puts base attributes together. Each is held once, and never more than the caps allow.
class Reassembler {
 public:
  struct Limits {
    std::size_t attribute_bytes = std::size_t(16) << 20;
    std::size_t transfers = 4;
    std::size_t segments = 4096;
  };
  struct Step {
    bool ask_next = false, cancel = false;      // answer with Next Segment
    std::optional<ByteVector> attribute;        // complete: header and value
    std::optional<Refusal> refusal;             // answer with a PA-TNC error and pseudo_header(id)
  };
  Reassembler() : Reassembler(Limits{}) {}
  explicit Reassembler(Limits limits) : limits_(limits) {}
  // `value_offset`: of the envelope's value in its message, for refusals of the envelope itself.
  Step add(const Envelope& envelope, std::size_t value_offset);

 private:
  struct Transfer {
    ByteVector bytes;
    std::size_t total = 0, segments = 0;
  };
  Limits limits_;
  std::map<std::uint32_t, Transfer> transfers_;
};

}  // namespace gatehouse::patnc
