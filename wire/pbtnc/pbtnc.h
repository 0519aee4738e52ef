// PB-TNC batches and messages (RFC 5793; spec part 1a §4). Big-endian. Offsets count from the batch's first byte, as
// PB-TNC errors quote them. Parsed values borrow from the batch.
//
//   const auto batch = pbtnc::parse_batch(bytes, true);            // a server reads
//   if (!batch) return close_with(batch.error());                  // append_error() in a CLOSE batch
//   for (const pbtnc::Refusal& remark : batch->remarks) ...        // append_error() in the next batch
//   for (const pbtnc::Message& m : batch->messages)
//     if (m.is(pbtnc::vendor_ietf, pbtnc::type::pa)) deliver(pbtnc::pa_message(m));
//
// What parse_batch() has let through is well-formed down to each field: the accessors below can't fail.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pbtnc {

inline constexpr std::size_t batch_header_size = 8, message_header_size = 12, pa_header_size = 12;
inline constexpr std::size_t max_messages = 1024;
inline constexpr std::size_t max_language_preference = 1024, max_languages = 16;
inline constexpr std::size_t max_remarks = 8;  // non-fatal errors that answer one batch
inline constexpr std::uint16_t any = 0xFFFF;   // collector or validator identifier

enum class BatchType : std::uint8_t { cdata = 1, sdata = 2, result = 3, cretry = 4, sretry = 5, close = 6 };
std::string_view name(BatchType type);

namespace type {
inline constexpr std::uint32_t experimental = 0, pa = 1, assessment_result = 2, access_recommendation = 3,
                               remediation_parameters = 4, error = 5, language_preference = 6, reason_string = 7;
inline constexpr std::uint32_t tcg_pdp_referral = 1;                            // vendor TCG
inline constexpr std::uint32_t ita_noskip_test = 0, ita_mutual_capability = 1;  // vendor ITA-HSR
inline constexpr std::uint32_t kept_connection = 1;                             // vendor Gatehouse
}  // namespace type
inline constexpr std::uint32_t vendor_ietf = 0, vendor_tcg = 0x005597, vendor_ita = 0x00902A,
                               vendor_gatehouse = 0xFFFFFE;  // unassigned

enum class ErrorCode : std::uint16_t {
  unexpected_batch_type = 0,
  invalid_parameter = 1,
  local_error = 2,
  unsupported_mandatory_message = 3,
  version_not_supported = 4,
};
std::string_view name(ErrorCode code);

// A fault that is answered with a PB-Error: a fatal one in a CLOSE batch, one that isn't in the next batch.
struct Refusal {
  ErrorCode code = ErrorCode::invalid_parameter;
  std::uint32_t offset = 0;
  std::uint8_t bad_version = 0;  // version_not_supported
  std::string_view reason;
  bool fatal = true;
};

struct Message {
  bool noskip = false;
  std::uint32_t vendor = 0, type = 0;
  std::size_t offset = 0;  // of the message header in the batch
  Bytes value;
  bool known = true;  // false only where Parsing::keep_unknown is set
  std::size_t value_offset() const { return offset + message_header_size; }
  bool is(std::uint32_t v, std::uint32_t t) const { return vendor == v && type == t; }
};

struct Batch {
  BatchType type = BatchType::cdata;
  std::vector<Message> messages;  // those that the receiver knows; skippable unknown ones are left out
  std::vector<Refusal> remarks;   // non-fatal errors to answer with; the messages they are about are left out
};

struct Parsing {
  bool from_client = true;
  std::size_t max_batch = SIZE_MAX;  // configured below the transport's: a larger batch is a Local Error
  bool keep_unknown = false;         // for a trace: also unknown messages and PB-Experimental, with known = false
};
// The whole batch as `from_client` tells its sender; nothing of a refused batch may be acted on. Assessment results and
// access recommendations outside a RESULT batch are in `messages` too: a client ignores them there.
std::expected<Batch, Refusal> parse_batch(Bytes batch, const Parsing& how);
inline std::expected<Batch, Refusal> parse_batch(Bytes batch, bool from_client) {
  return parse_batch(batch, Parsing{.from_client = from_client});
}

// PB-PA (type 1).
struct PaMessage {
  bool exclusive = false;
  std::uint32_t vendor = 0, subtype = 0;
  std::uint16_t collector = any, validator = any;
  Bytes body;
};
PaMessage pa_message(const Message& message);
void append_pa(Writer& w, const PaMessage& v);

// PB-Assessment-Result (2): 0 compliant, 1 minor, 2 major, 3 error, 4 don't know.
std::uint32_t assessment_result(const Message& m);
void append_assessment_result(Writer& w, std::uint32_t value);
// PB-Access-Recommendation (3): 1 allowed, 2 denied, 3 quarantined.
std::uint16_t access_recommendation(const Message& m);
void append_access_recommendation(Writer& w, std::uint16_t code);

// PB-Remediation-Parameters (4): `uri` for IETF type 1, `text` with its language for IETF type 2, else opaque.
struct Remediation {
  static constexpr std::uint32_t type_uri = 1, type_string = 2;
  std::uint32_t vendor = vendor_ietf, type = type_uri;
  Bytes parameters;  // as they stand
  std::string_view uri;
  std::string_view text, language;
};
Remediation remediation(const Message& m);
void append_remediation_uri(Writer& w, std::string_view uri);
void append_remediation_string(Writer& w, std::string_view text, std::string_view language);
void append_remediation(Writer& w, std::uint32_t vendor, std::uint32_t type, Bytes parameters);

// PB-Reason-String (7): UTF-8 and an RFC 5646 tag of at most 255 bytes.
struct ReasonString {
  std::string_view text, language;
};
ReasonString reason_string(const Message& m);
void append_reason_string(Writer& w, const ReasonString& v);

// PB-Language-Preference (6). Tags in lower case, best first: by their q values, and in the sender's order where these
// are equal; only the first 16 of the list are looked at, those with q=0 are left out. Empty: no preference (any more).
std::vector<std::string> languages(const Message& m);
// `list` as in an Accept-Language header: "de, en;q=0.8". Empty: takes an earlier preference back.
void append_language_preference(Writer& w, std::string_view list);
// The first preference that is among `available`, after cutting subtags from its right end (RFC 4647 section 3.4); "*"
// stands for whatever is there. `available` isn't empty; its first is the fallback.
std::string_view choose_language(std::span<const std::string> preferred, std::span<const std::string_view> available);

// PB-Error (5). Parameters of another size than their code has are ignored, such as the four zero octets with which
// strongSwan sends code 0.
struct PbError {
  bool fatal = false;
  std::uint32_t vendor = 0;
  std::uint16_t code = 0;
  std::optional<std::uint32_t> offset;        // codes 1 and 3
  std::optional<std::uint8_t> bad_version{};  // code 4
};
PbError pb_error(const Message& m);
void append_error(Writer& w, const Refusal& refusal);
// The first fatal error of a batch of any type. To be looked for before anything else: whatever comes with it isn't to
// be trusted, and no error answers it (spec part 1a §4.6).
std::optional<PbError> fatal_error(const Batch& batch);
// "Invalid Parameter at offset 31", "code 7 of vendor 36906".
std::string description(const PbError& error);

// TCG PB-PDP-Referral: where a PT-TLS server is.
struct PdpReferral {
  enum class Kind : std::uint32_t { fqdn = 0, ipv4 = 1, ipv6 = 2 };
  static constexpr std::uint8_t protocol_pt_tls = 0;
  std::uint32_t vendor = vendor_tcg,
                type = 0;  // of the identifier; the rest is meant where vendor is TCG and type a Kind
  std::uint8_t protocol = protocol_pt_tls;
  std::uint16_t port = 0;
  Bytes host;  // a name, 4 octets, or 16; of another identifier everything that follows its type
  bool is(Kind kind) const { return vendor == vendor_tcg && type == std::uint32_t(kind); }
};
PdpReferral pdp_referral(const Message& m);
void append_pdp_referral(Writer& w, PdpReferral::Kind kind, std::uint16_t port, Bytes host);

// ITA-HSR PB-Mutual-Capability. It is read and not taken up: who gets no answer stays in normal mode (spec part 1a
// §4.11).
inline constexpr std::uint32_t mutual_half_duplex = 0x80000000, mutual_full_duplex = 0x40000000;
std::uint32_t mutual_capability(const Message& m);
void append_mutual_capability(Writer& w, std::uint32_t protocols);

// Gatehouse PB-Kept-Connection (docs/formats/kept-connection.md): the client stays in Decided after RESULT, and takes an
// SRETRY there as RFC 5793 has it. Without NOSKIP, so that other servers skip it; true: in a version that we know.
bool kept_connection(const Message& m);
void append_kept_connection(Writer& w);

// Any other: PB-Experimental, PB-Noskip-Test, vendors' own.
void append_message(Writer& w, bool noskip, std::uint32_t vendor, std::uint32_t type, Bytes value);
std::string message_name(std::uint32_t vendor, std::uint32_t type);

// A batch of complete messages.
ByteVector batch(BatchType type, bool from_server, Bytes messages);

// Messages waiting to be sent: a batch takes them in order while they fit; the first that doesn't stops it, and the
// rest goes into the next (spec part 1a §4.8).
class Queue {
 public:
  explicit Queue(std::size_t max_batch) : max_batch_(max_batch) {}
  // False: larger than any batch may be, and left out.
  bool push(ByteVector message);
  bool empty() const { return messages_.empty(); }
  void clear();
  // Takes what fits besides `reserved` bytes that the caller appends.
  ByteVector take(std::size_t reserved = 0);
  std::size_t max_batch() const { return max_batch_; }
  std::size_t bytes() const { return bytes_; }

  // What a RESULT batch says itself. `core` is the assessment result with the access recommendation and always fits;
  // of `extras`, reasons and remediation, those go along that fit into one batch with it, in order.
  struct ResultContent {
    ByteVector core;
    std::vector<ByteVector> extras;
  };
  struct Outgoing {
    BatchType type = BatchType::result;
    ByteVector messages;
    std::size_t left_out = 0;  // extras
  };
  // The server's next batch once the verdict is there. Waiting messages go out in front of the result messages, in the
  // RESULT batch where everything fits; else SDATA batches carry them first, and the caller asks again after each
  // answer of the client, because nothing can follow a RESULT.
  Outgoing take_result(const ResultContent& content);

 private:
  std::size_t max_batch_;
  std::size_t bytes_ = 0;
  std::vector<ByteVector> messages_;
};

}  // namespace gatehouse::pbtnc
