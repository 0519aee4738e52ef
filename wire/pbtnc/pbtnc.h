// PB-TNC batches and messages (RFC 5793; spec part 1a §4). Big-endian. Offsets count from the batch's first byte, as
// PB-TNC errors quote them. Parsed values borrow from the batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pbtnc {

inline constexpr std::size_t batch_header_size = 8, message_header_size = 12, pa_header_size = 12;
inline constexpr std::size_t max_messages = 1024;
inline constexpr std::uint16_t any = 0xFFFF;  // collector or validator identifier

enum class BatchType : std::uint8_t { cdata = 1, sdata = 2, result = 3, cretry = 4, sretry = 5, close = 6 };
std::string_view name(BatchType type);

namespace type {
inline constexpr std::uint32_t experimental = 0, pa = 1, assessment_result = 2, access_recommendation = 3,
    remediation_parameters = 4, error = 5, language_preference = 6, reason_string = 7;
}  // namespace type
inline constexpr std::uint32_t vendor_ietf = 0, vendor_tcg = 0x005597, vendor_ita = 0x00902A;

enum class ErrorCode : std::uint16_t {
  unexpected_batch_type = 0,
  invalid_parameter = 1,
  local_error = 2,
  unsupported_mandatory_message = 3,
  version_not_supported = 4,
};
std::string_view name(ErrorCode code);

// A fault that is answered with a fatal PB-Error in a CLOSE batch.
struct Refusal {
  ErrorCode code = ErrorCode::invalid_parameter;
  std::uint32_t offset = 0;
  std::uint8_t bad_version = 0;  // version_not_supported
  std::string_view reason;
};

struct Message {
  bool noskip = false;
  std::uint32_t vendor = 0, type = 0;
  std::size_t offset = 0;  // of the message header in the batch
  Bytes value;
  std::size_t value_offset() const { return offset + message_header_size; }
};

struct Batch {
  BatchType type = BatchType::cdata;
  std::vector<Message> messages;  // those that the receiver knows; skippable unknown ones are left out
};

// The whole batch as `from_client` tells its sender; nothing of a refused batch may be acted on.
std::expected<Batch, Refusal> parse_batch(Bytes batch, bool from_client);

// PB-PA.
struct PaMessage {
  bool exclusive = false;
  std::uint32_t vendor = 0, subtype = 0;
  std::uint16_t collector = any, validator = any;
  Bytes body;
};
PaMessage pa_message(const Message& message);  // of a parsed batch
void append_pa(Writer& w, const PaMessage& v);

struct ReasonString {
  std::string_view text, language;
};
struct PbError {
  bool fatal = false;
  std::uint32_t vendor = 0;
  std::uint16_t code = 0;
  std::optional<std::uint32_t> offset;
};
std::uint32_t assessment_result(const Message& m);
std::uint16_t access_recommendation(const Message& m);
ReasonString reason_string(const Message& m);
PbError pb_error(const Message& m);
// Language tags in the client's order, without their weights; at most 16.
std::vector<std::string> languages(const Message& m);

void append_assessment_result(Writer& w, std::uint32_t value);
void append_access_recommendation(Writer& w, std::uint16_t code);
void append_reason_string(Writer& w, const ReasonString& v);
void append_language_preference(Writer& w, std::string_view list);
void append_error(Writer& w, const Refusal& refusal);
void append_message(Writer& w, bool noskip, std::uint32_t vendor, std::uint32_t type, Bytes value);

// A batch of complete messages.
ByteVector batch(BatchType type, bool from_server, Bytes messages);

// Messages waiting to be sent: a batch takes them in order while they fit; the first that doesn't stops it.
class Queue {
 public:
  explicit Queue(std::size_t max_batch) : max_batch_(max_batch) {}
  // False: larger than any batch may be, and left out.
  bool push(ByteVector message);
  bool empty() const { return messages_.empty(); }
  void clear() { messages_.clear(); }
  // Takes what fits besides `reserved` bytes that the caller appends.
  ByteVector take(std::size_t reserved = 0);
  std::size_t max_batch() const { return max_batch_; }

 private:
  std::size_t max_batch_;
  std::vector<ByteVector> messages_;
};

std::string message_name(std::uint32_t vendor, std::uint32_t type);

}  // namespace gatehouse::pbtnc
