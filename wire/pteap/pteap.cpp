#include "wire/pteap/pteap.h"

namespace gatehouse::pteap {
namespace {

constexpr std::string_view spec = "RFC 7171 3";
constexpr std::uint8_t start_flag = 0x80, version_mask = 0x07, version = 1;

}  // namespace

Result<Message> parse_message(Bytes data) {
  Reader r(data, spec);
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  Message out;
  out.start = (flags & start_flag) != 0;
  out.batch = r.rest();
  if (out.start && !out.batch.empty()) return r.fail(Fault::protocol, "Start with data");
  if ((out.start || !out.batch.empty()) && (flags & version_mask) != version)
    return r.fail(Fault::protocol, "PT-EAP version isn't 1");
  return out;
}

Result<Message> parse_tnc_message(Bytes data) {
  constexpr std::uint8_t tnc_start_flag = 0x20, length_flag = 0x80, more_flag = 0x40;
  Reader r(data, "EAP-TNC");
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  if ((flags & more_flag) != 0) return r.fail(Fault::protocol, "EAP-TNC in fragments inside a tunnel");
  if ((flags & length_flag) != 0) {
    GH_TRY(const std::size_t length, r.get<std::uint32_t>());
    if (length != r.remaining()) return r.fail(Fault::protocol, "EAP-TNC length isn't what is there");
  }
  Message out;
  out.start = (flags & tnc_start_flag) != 0;
  out.batch = r.rest();
  if (out.start && !out.batch.empty()) return r.fail(Fault::protocol, "Start with data");
  if ((out.start || !out.batch.empty()) && (flags & version_mask) != version)
    return r.fail(Fault::protocol, "EAP-TNC version isn't 1");
  return out;
}

ByteVector tnc_start() { return {std::byte{0x21}}; }

ByteVector start() { return {std::byte(start_flag | version)}; }

ByteVector message(Bytes batch) {
  GH_ASSERT(batch.size() <= max_batch);
  ByteVector out{std::byte(version)};
  out.insert(out.end(), batch.begin(), batch.end());
  return out;
}

}  // namespace gatehouse::pteap
