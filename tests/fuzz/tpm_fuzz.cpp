#include "wire/tpm/tpm.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  (void)tpm::parse_attest(all);
  (void)tpm::parse_signature(all);
  (void)tpm::parse_public(all);
  return 0;
}
