#include "wire/pbtnc/pbtnc.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  for (const bool from_client : {true, false}) {
    const auto batch = pbtnc::parse_batch(all, from_client);
    if (!batch) continue;
    for (const pbtnc::Message& m : batch->messages) {
      switch (m.type) {
        case pbtnc::type::pa: (void)pbtnc::pa_message(m); break;
        case pbtnc::type::assessment_result: (void)pbtnc::assessment_result(m); break;
        case pbtnc::type::access_recommendation: (void)pbtnc::access_recommendation(m); break;
        case pbtnc::type::reason_string: (void)pbtnc::reason_string(m); break;
        case pbtnc::type::error: (void)pbtnc::pb_error(m); break;
        case pbtnc::type::language_preference: (void)pbtnc::languages(m); break;
        default: break;
      }
    }
  }
  return 0;
}
