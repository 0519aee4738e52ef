// PTS errors: values of PA-TNC Error attributes with the TCG's vendor id (spec part 2 §1.15). Big-endian. Layout:
// reserved (1), vendor (3), code (4), information by code.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/reader.h"
#include "base/writer.h"
#include "wire/pts/pts.h"

namespace gatehouse::pts {

// What the information of a code is.
enum class ErrorForm : std::uint8_t {
  none,     // nothing; also of codes that we don't know
  set,      // 2 bytes reserved, 2 bytes: the supported algorithms or groups
  lengths,  // 2 bytes least, 2 bytes most nonce length
  request,  // the value of the request that can't be answered
};
ErrorForm error_form(std::uint32_t code);
std::string_view error_name(std::uint32_t code);  // "File Not Found"; "Unknown" for others

struct ErrorInformation {
  std::uint16_t supported = 0;                         // set
  std::uint16_t least_nonce = 0, most_nonce = 0xFFFF;  // lengths
  Bytes request;                                       // request; for `none` whatever came
};
// The information: what follows vendor and code. Malformed: shorter than its form.
Result<ErrorInformation> parse_error_information(std::uint32_t code, Reader& r);

// Whole values of PA-TNC Error.
inline constexpr std::size_t max_quoted_request = 1024;
void append_error(Writer& w, std::uint32_t code);                               // a code of form `none`
void append_set_error(Writer& w, std::uint32_t code, std::uint16_t supported);  // hash_algorithm_..., dh_group_...
void append_nonce_error(Writer& w, std::uint16_t least, std::uint16_t most = 0xFFFF);
void append_request_error(Writer& w, std::uint32_t code, Bytes request_value);  // cut to max_quoted_request

}  // namespace gatehouse::pts
