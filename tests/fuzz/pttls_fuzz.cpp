#include "wire/pttls/pttls.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  pttls::Framer framer;
  for (std::size_t at = 0; at < size; at += 7) {
    framer.feed(all.subspan(at, std::min<std::size_t>(7, size - at)));
    for (;;) {
      const auto m = framer.next();
      if (!m) return 0;
      if (*m == nullptr) break;
      const Bytes v = (*m)->value;
      (void)pttls::parse_version_request(v);
      (void)pttls::parse_version_response(v);
      (void)pttls::parse_mechanisms(v);
      if (const auto s = pttls::parse_selection(v)) (void)pttls::parse_plain(s->initial_response);
      (void)pttls::parse_sasl_result(v);
      (void)pttls::parse_error(v);
    }
  }
  return 0;
}
