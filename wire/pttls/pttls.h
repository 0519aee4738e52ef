// PT-TLS (RFC 6876; spec part 1a §1): message framing over TLS application data, version negotiation, SASL messages,
// errors. Big-endian. Offsets in errors count from the message's first byte.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pttls {

inline constexpr std::size_t header_size = 16;
inline constexpr std::size_t max_batch = 2'097'136;  // 128 TLS records less this header
inline constexpr std::size_t max_skipped = 65'536;   // value of a message of unknown type
inline constexpr std::size_t max_copy = 1'024;       // of the offending message in an error

enum class Type : std::uint32_t {
  experimental = 0,
  version_request = 1,
  version_response = 2,
  sasl_mechanisms = 3,
  sasl_selection = 4,
  sasl_data = 5,
  sasl_result = 6,
  pb_tnc_batch = 7,
  error = 8,
};
std::string name(std::uint32_t vendor, std::uint32_t type);

enum class ErrorCode : std::uint32_t {
  malformed = 1,
  version_not_supported = 2,
  type_not_supported = 3,
  invalid_message = 4,
  sasl_mechanism = 5,
  invalid_parameter = 6,
};

struct Header {
  std::uint32_t vendor = 0, type = 0, length = 0, identifier = 0;
  bool known() const { return vendor == 0 && type <= 8; }
  Type kind() const { return Type(type); }
};

// A received message; the value borrows from the framer until its next call.
struct Message {
  Header header;
  Bytes value;
  Bytes whole;             // header and value, for the copy in errors
  bool truncated = false;  // only the beginning is here: unknown and experimental messages, over-long errors
};

// What is wrong with a header, before its value is read (§7).
struct Refusal {
  ErrorCode code = ErrorCode::invalid_parameter;
  std::string_view reason;
  Bytes copy;  // the header as it came
};

// Finds messages in a byte stream that is cut anywhere. A header is judged as soon as it is there, so a length that its
// type may not have costs no memory. Of messages that nobody will read, the first 1,024 bytes are kept for the copy in
// an error; the rest is dropped as it comes. A PT-TLS Error is never refused, because it must not be answered with one:
// an impossible one comes out as it is, and parse_error() tells.
class Framer {
 public:
  explicit Framer(std::size_t largest_batch = max_batch) : max_batch_(largest_batch) {}
  void feed(Bytes bytes);
  // In place of feed(), without a copy: what comes is written into room(), which is at least one byte and no more than the
  // message lacks, and counted by came(). True: it lacks more; else next() has something to say. Where nothing comes for now,
  // wait() gives back what is far more than what has come.
  std::span<std::byte> room();
  bool came(std::size_t bytes);
  void wait();
  // nullptr: more bytes are needed. The refusal is final.
  std::expected<const Message*, Refusal> next();
  std::size_t buffered() const { return size_ - at_; }

 private:
  // Of the message that begins with this header, how many bytes are kept; and its header, into message_.
  std::expected<std::size_t, Refusal> wanted(Bytes header);
  const Message* deliver(std::size_t bytes);
  Bytes rest() const { return {buffer_.get() + at_, size_ - at_}; }
  // What was delivered is left out.
  void compact();
  void resize_buffer(std::size_t bytes);

  std::size_t max_batch_;
  std::unique_ptr<std::byte[]> buffer_;  // of capacity_ bytes, size_ of them have come
  std::size_t capacity_ = 0, size_ = 0;
  std::size_t at_ = 0;
  std::size_t skip_ = 0;  // bytes of the current message that are still to come and of no use
  bool lost_ = false;     // where the next message begins can't be known any more
  Message message_;
};

// What a receiver does with a message by its type alone (spec part 1a §1.3).
enum class Role : std::uint8_t { client, server };
// version: the server waits for a Version Request, the client for its answer. authentication: until the empty SASL
// Mechanisms message; what a mechanism expects at a moment is its own business. data: PB-TNC batches.
enum class Phase : std::uint8_t { version, authentication, data };
struct Ruling {
  enum class Act : std::uint8_t {
    take,        // it may come now
    skip,        // answer with an error of this code, at most max_answers a connection, and go on
    refuse,      // answer with an error of this code and close
    peer_error,  // it is a PT-TLS Error: see fatal()
  };
  Act act = Act::take;
  ErrorCode code = ErrorCode::invalid_message;
};
inline constexpr unsigned max_answers = 8;
Ruling rule(Role receiver, Phase phase, const Header& header);

void append_message(Writer& w, Type type, std::uint32_t identifier, Bytes value);

struct VersionRequest {
  std::uint8_t minimum = 1, maximum = 1, preferred = 1;
};
Result<VersionRequest> parse_version_request(Bytes value);
// Version 1 is the only one there is; without it in the range: version_not_supported.
constexpr bool supported(const VersionRequest& v) { return v.minimum <= 1 && v.maximum >= 1; }
void append_version_request(Writer& w, const VersionRequest& v);
Result<std::uint8_t> parse_version_response(Bytes value);
void append_version_response(Writer& w, std::uint8_t version);

Result<std::vector<std::string_view>> parse_mechanisms(Bytes value);
void append_mechanisms(Writer& w, const std::vector<std::string_view>& names);
struct Selection {
  std::string_view mechanism;
  Bytes initial_response;
};
Result<Selection> parse_selection(Bytes value);
void append_selection(Writer& w, const Selection& v);

enum class SaslResult : std::uint8_t { success = 0, failure = 1, abort = 2, mechanism_failure = 3 };
struct SaslOutcome {
  SaslResult code = SaslResult::abort;
  Bytes data;  // of the mechanism; mostly empty
};
// Both widths in use: one octet, or two (RFC 6876). Two or more octets of which the first is 0 begin with a code of two
// octets; everything else begins with a code of one (spec part 1a §1.5).
Result<SaslOutcome> parse_sasl_result(Bytes value);

// `[pt_tls] sasl_result_width`: "auto", "8", "16". strongSwan's clients read one octet, so two octets of failure would
// be a success to them, while two of success are read alike by everybody: automatic means two for success, else one.
enum class ResultWidth : std::uint8_t { automatic, eight, sixteen };
std::optional<ResultWidth> result_width(std::string_view text);
// With data always two octets: only a client that follows the RFC knows a mechanism that has some.
void append_sasl_result(Writer& w, SaslResult code, ResultWidth width, Bytes data = {});

struct Plain {
  std::string_view authorization, user, password;
};
// RFC 4616; a NUL in the password, an empty user or password, or over-long ones are malformed.
Result<Plain> parse_plain(Bytes message);
ByteVector plain_message(std::string_view user, std::string_view password);

struct ErrorMessage {
  std::uint32_t vendor = 0, code = 0;
  Bytes copy;
};
Result<ErrorMessage> parse_error(Bytes value);
// The code that answers what a parser here refused: invalid_parameter for a field out of its range (Fault::protocol),
// else malformed.
ErrorCode error_code(const Error& error);
// An Error that is malformed or truncated ends the connection, and so does one that is fatal. Whether the receiver
// closes: code 0 is for debugging, 3 tells of a skipped message; codes that nobody has defined and those of other
// vendors are let pass in the data phase.
bool fatal(const ErrorMessage& error, Phase phase);
std::string_view name(ErrorCode code);
// `offending`: the message that is answered; its first 1,024 bytes are copied.
void append_error(Writer& w, ErrorCode code, Bytes offending);

}  // namespace gatehouse::pttls
