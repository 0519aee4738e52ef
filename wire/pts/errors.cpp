#include "wire/pts/errors.h"

#include <algorithm>

namespace gatehouse::pts {
namespace {

struct Code {
  std::string_view name;
  ErrorForm form;
};
// By code, from 0.
constexpr Code codes[] = {
    {"Reserved", ErrorForm::none},
    {"Hash Algorithm Not Supported", ErrorForm::set},
    {"Invalid Path", ErrorForm::request},
    {"File Not Found", ErrorForm::request},
    {"Registry Not Supported", ErrorForm::none},
    {"Registry Key Not Found", ErrorForm::none},
    {"D-H Group Not Supported", ErrorForm::set},
    {"DH-PN Nonce Not Acceptable", ErrorForm::lengths},
    {"Invalid Functional Name Family", ErrorForm::none},
    {"TPM Version Information Unavailable", ErrorForm::request},
    {"Invalid File Pathname Delimiter", ErrorForm::request},
    {"PTS Operation Not Supported", ErrorForm::none},
    {"Unable To Update Reference Manifest", ErrorForm::none},
    {"Unable To Perform Local Validation", ErrorForm::request},
    {"Unable To Collect Current Evidence", ErrorForm::request},
    {"Unable To Determine Transitive Trust Chain", ErrorForm::request},
    {"Unable To Determine PCR", ErrorForm::request},
};

void append_head(Writer& w, std::uint32_t code, ErrorForm form) {
  GH_ASSERT(error_form(code) == form);
  w.put(std::uint8_t{0});
  w.put24(vendor_tcg);
  w.put(code);
}

}  // namespace

ErrorForm error_form(std::uint32_t code) { return code < std::size(codes) ? codes[code].form : ErrorForm::none; }
std::string_view error_name(std::uint32_t code) { return code < std::size(codes) ? codes[code].name : "Unknown"; }

Result<ErrorInformation> parse_error_information(std::uint32_t code, Reader& r) {
  ErrorInformation v;
  const ErrorForm form = error_form(code);
  if ((form == ErrorForm::set || form == ErrorForm::lengths) && r.remaining() < 4)
    return r.fail("PTS error information shorter than 4 bytes");
  if (form == ErrorForm::set) {
    GH_CHECK(r.skip(2));
    GH_TRY(v.supported, r.get<std::uint16_t>());
  } else if (form == ErrorForm::lengths) {
    GH_TRY(v.least_nonce, r.get<std::uint16_t>());
    GH_TRY(v.most_nonce, r.get<std::uint16_t>());
  } else {
    v.request = r.rest();
  }
  GH_CHECK(r.skip(r.remaining()));
  return v;
}

void append_error(Writer& w, std::uint32_t code) { append_head(w, code, ErrorForm::none); }
void append_set_error(Writer& w, std::uint32_t code, std::uint16_t supported) {
  append_head(w, code, ErrorForm::set);
  w.put(std::uint16_t{0});
  w.put(supported);
}
void append_nonce_error(Writer& w, std::uint16_t least, std::uint16_t most) {
  append_head(w, error::nonce_not_acceptable, ErrorForm::lengths);
  w.put(least);
  w.put(most);
}
void append_request_error(Writer& w, std::uint32_t code, Bytes request_value) {
  append_head(w, code, ErrorForm::request);
  w.put_bytes(request_value.first(std::min(request_value.size(), max_quoted_request)));
}

}  // namespace gatehouse::pts
