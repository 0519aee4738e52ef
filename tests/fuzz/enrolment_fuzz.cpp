// The attributes of the enrolment exchange: what parses is written as it was read, but for reserved bytes.
#include <cstdlib>

#include "wire/enrolment/enrolment.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes value(reinterpret_cast<const std::byte*>(data), size);
  const auto same = [&](auto&& parse, auto&& append) {
    Reader r(value, "fuzz");
    const auto parsed = parse(r);
    if (!parsed) return;
    Writer w;
    append(w, *parsed);
    if (w.size() != value.size() || !equal(w.view().subspan(4), value.subspan(4))) std::abort();
  };
  same(enrolment::parse_request, enrolment::append_request);
  same(enrolment::parse_challenge, enrolment::append_challenge);
  same(enrolment::parse_response, enrolment::append_response);
  same(enrolment::parse_outcome, enrolment::append_outcome);
  if (const auto token = enrolment::parse_token(as_text(value)); token && (token->id.size() != enrolment::token_id_size || token->key.size() != 32)) std::abort();
  return 0;
}
